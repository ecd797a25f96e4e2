/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One figure, measured once in each round. */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
