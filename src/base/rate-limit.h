/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Limits how often an event happens for each user: RATE_LIMIT_BURST times in a window of time that starts
 * with the first event. Further events are counted as suppressed.
 *
 * The table has a fixed size and never evicts a user with an open window; otherwise events of other users
 * could reset the limit of the first. While it is full, all other users share one window.
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

/* Initialized with zeroes. */
typedef struct RateLimit {
        RateLimitWindow users[RATE_LIMIT_USERS];
        size_t n_users;
        RateLimitWindow others;
} RateLimit;

typedef struct RateLimitReport {
        bool others; /* the users that share a window; the uid is not set */
        uid_t uid;
        uint32_t n_suppressed;
} RateLimitReport;

/* Counts an event at a time on CLOCK_MONOTONIC. Returns false if it is to be suppressed. */
bool rate_limit_admit(RateLimit *limit, uid_t uid, uint64_t now_usec);

/* Removes windows that have ended. Returns true for each in which events were suppressed; to be called until
 * it returns false. UINT64_MAX ends all windows. */
bool rate_limit_take_report(RateLimit *limit, uint64_t now_usec, RateLimitReport *ret);
