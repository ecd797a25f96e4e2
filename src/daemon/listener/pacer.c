/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/listener/pacer.h"

#define NS_PER_S UINT64_C(1000000000)
#define TOLERANCE_NS (NS_PER_S / 100)

void pacer_init(Pacer *pacer, uint32_t per_second) {
        *pacer = (Pacer) { .interval_ns = per_second > 0 ? NS_PER_S / per_second : 0 };
        if (per_second > 0 && pacer->interval_ns == 0)
                pacer->interval_ns = 1;
}

uint64_t pacer_get_next(const Pacer *pacer) {
        return pacer->arrival_ns > TOLERANCE_NS ? pacer->arrival_ns - TOLERANCE_NS : 0;
}

void pacer_count(Pacer *pacer, uint64_t now_ns) {
        if (pacer->arrival_ns < now_ns)
                pacer->arrival_ns = now_ns;
        pacer->arrival_ns += pacer->interval_ns;
}
