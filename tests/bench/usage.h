/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What processes and the machine have used, from outside. */

#include <stdint.h>
#include <sys/types.h>

/* User and system time, in µs. 0 for process 0. */
double usage_get_cpu(pid_t pid);
/* Of those of its children that it has waited for; in steps of 10 ms. */
double usage_get_children_cpu(pid_t pid);

/* In KiB; 0 for process 0. */
double usage_get_rss(pid_t pid);
double usage_get_pss(pid_t pid);
/* How often it has gone to sleep, which is how often it has been awake. */
uint64_t usage_get_sleeps(pid_t pid);

/* The share of all CPUs' time that was not idle while we slept for that long. */
double usage_get_background(unsigned milliseconds);

/* What the network has dropped so far. */
typedef struct Drops {
        uint64_t listen_overflows, listen_drops, syn_retransmissions;
} Drops;

Drops usage_get_drops(void);
