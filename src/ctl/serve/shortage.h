/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Something has run out, and so connections have to wait. That is told once an episode, which is over when
 * nothing was short for a while: where one thing is freed at a time, it works and fails in turn. */

#include <stdint.h>

/* All zeroes: there was none. */
typedef struct Shortage {
        uint64_t episode_end_usec;
} Shortage;

/* At every attempt that fails. */
void shortage_tell(Shortage *s, int error, const char *why);
