/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Paces events evenly: at the most so many per second.
 *
 * It is the generic cell rate algorithm: each event moves a theoretical arrival time on by one interval, and
 * none may come more than a tolerance ahead of it. The tolerance is short, so that no second sees more than a
 * hundredth above the rate, and yet a high rate does not need a timer for each event.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct Pacer {
        uint64_t interval_ns; /* 0: unlimited */
        uint64_t arrival_ns;
} Pacer;

void pacer_init(Pacer *pacer, uint32_t per_second);

/* When the next event may come, on CLOCK_MONOTONIC in nanoseconds; not in the future: it may come now. */
uint64_t pacer_get_next(const Pacer *pacer);

void pacer_count(Pacer *pacer, uint64_t now_ns);
