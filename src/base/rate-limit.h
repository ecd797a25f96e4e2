/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How often something may happen on account of a user: so many times in a window of time, which starts with
 * the first of them; the rest is counted.
 *
 * The table is small and never drops a user whose window is still open, or a second user could be used to
 * forget the first. When it is full, all further users share one window.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RATE_LIMIT_BURST 30
#define RATE_LIMIT_WINDOW_USEC (UINT64_C(60) * 1000 * 1000)
#define RATE_LIMIT_USERS 64

typedef struct RateLimitWindow {
        uid_t uid;
        uint64_t start_usec;
        uint32_t n; /* 0: not open */
        uint32_t n_suppressed;
} RateLimitWindow;

/* All zeroes is a fresh one. */
typedef struct RateLimit {
        RateLimitWindow users[RATE_LIMIT_USERS];
        size_t n_users;
        RateLimitWindow others;
} RateLimit;

typedef struct RateLimitReport {
        bool others; /* not one user, but all that had no place in the table */
        uid_t uid;
        uint32_t n_suppressed;
} RateLimitReport;

/* Counts one more, on CLOCK_MONOTONIC. Returns false if it is too much. */
bool rate_limit_admit(RateLimit *limit, uid_t uid, uint64_t now_usec);

/* Forgets the windows that are over. Returns true for one in which something was suppressed, each once; call
 * it until it returns false. UINT64_MAX ends all windows. */
bool rate_limit_take_report(RateLimit *limit, uint64_t now_usec, RateLimitReport *ret);
