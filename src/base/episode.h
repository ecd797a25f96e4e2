/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An episode of failures, which is logged once.
 *
 * While resources are short, attempts fail and succeed in turn, because each descriptor that is freed allows
 * one more. The episode therefore ends after a time without failures, and not with the first success.
 */

#include <stdbool.h>
#include <stdint.h>

/* All zeroes: there was no failure yet. */
typedef struct Episode {
        uint64_t end_usec; /* on CLOCK_MONOTONIC */
} Episode;

/* Counts a failure. Returns true for the first one of an episode, which is the one to log. The episode ends
 * when quiet_usec have passed without another failure. */
static inline bool episode_add_failure(Episode *episode, uint64_t now_usec, uint64_t quiet_usec) {
        bool is_first = now_usec >= episode->end_usec;

        episode->end_usec = now_usec + quiet_usec;
        return is_first;
}
