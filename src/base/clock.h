/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The current time on CLOCK_MONOTONIC. */

#include <stdint.h>
#include <time.h>

static inline uint64_t clock_get_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

static inline uint64_t clock_get_usec(void) {
        return clock_get_ns() / 1000;
}
