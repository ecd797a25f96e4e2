/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "daemon/policy/delivery-kind.h"

static const struct {
        const char *name;
        bool accepts;
        bool can_acknowledge;
} kinds[_DELIVERY_KIND_MAX] = {
        [DELIVERY_SIGNAL] = { .name = "signal", .accepts = true, .can_acknowledge = true },
        [DELIVERY_PULL] = { .name = "pull", .accepts = true },
        [DELIVERY_CHANNEL] = { .name = "channel", .accepts = true },
        [DELIVERY_SOCKET] = { .name = "socket" },
};

int delivery_kind_from_string(const char *s) {
        for (size_t i = 0; i < ELEMENTS(kinds); i++)
                if (streq(kinds[i].name, s))
                        return (int) i;

        return -EINVAL;
}

const char *delivery_kind_to_string(DeliveryKind kind) {
        return kinds[kind].name;
}

bool delivery_kind_accepts(DeliveryKind kind) {
        return kinds[kind].accepts;
}

bool delivery_kind_can_acknowledge(DeliveryKind kind) {
        return kinds[kind].can_acknowledge;
}
