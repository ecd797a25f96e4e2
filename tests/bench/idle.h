/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service that has a listener and nothing to do. It is watched while the rest is measured: if it really
 * sleeps, neither notices the other. */

#include <stdint.h>

typedef struct Idle Idle;

typedef struct IdleFigures {
        double seconds;
        uint64_t wake_ups;
        int64_t system_calls; /* -1: there is no strace */
        double rss, pss;      /* in KiB */
} IdleFigures;

Idle *idle_start(void);
/* Waits until it was watched for so long. */
IdleFigures idle_finish(Idle *idle, unsigned seconds);
