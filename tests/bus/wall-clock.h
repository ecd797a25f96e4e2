/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a test and the library in wall-clock.c share: a file, which both map. */

#include <stdint.h>

#define WALL_CLOCK_FILE_VARIABLE "TEST_WALL_CLOCK_FILE"

typedef struct WallClock {
        int64_t shift_sec; /* set by the test: the wall clock of the process is wrong by this */
        /* Counted by the library. */
        uint64_t n_readings; /* of the wall clock, by libsystemd, too */
        uint64_t n_timers;   /* timers of the wall clock, which the kernel would not shift */
} WallClock;
