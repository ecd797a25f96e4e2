/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* --- One figure, measured once in each round --- */

#define ROUNDS_MAX 50

typedef struct Series {
        double values[ROUNDS_MAX];
        unsigned n;
} Series;

/* No more than ROUNDS_MAX are kept. */
void series_add(Series *s, double value);

/* NAN where nothing was measured. */
double series_get_median(const Series *s);
double series_get_min(const Series *s);
double series_get_max(const Series *s);

/* Round by round, so that what slows a whole round down makes no difference. */
Series series_divide(const Series *s, const Series *by);
/* The best of several, round by round. An empty one does not count. */
Series series_choose(const Series *const *of, size_t n, bool largest);

/* The sample below which that share of all of them lies; sorts them. */
double percentile(uint32_t *samples, size_t n, double share);

/* The median and each round; null where nothing was measured. */
json_object *series_to_json(const Series *s);
json_object *number_to_json(double number);
/* Consumes the object. Prints an error and returns false if the file cannot be written. */
bool write_json(json_object *o, const char *path);

/* --- What processes and the machine have used, seen from outside --- */

uint64_t now_ns(void); /* CLOCK_MONOTONIC */

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

/*
 * --- Where processes run while latency is measured: the load on one CPU, all the others on another ---
 *
 * A peer on another machine has its own CPU, too. The scheduler alone would put them together or apart at
 * random, and waking a process on another CPU takes longer than most measured times: the figures
 * would jump by half from one round to the next. On a machine with one CPU, nothing is done.
 */

/* This process, which is the load. */
void place_load(void);
/* That process, unless it is 0, and the children that it starts from now on. */
void place_server(pid_t pid);
/* Allows all CPUs again. */
void place_anywhere(pid_t pid);
