/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/series.h"

#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static int compare_samples(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

void series_add(Series *s, double value) {
        if (s->n < ROUNDS_MAX)
                s->values[s->n++] = value;
}

double series_get_median(const Series *s) {
        Series sorted = *s;

        if (s->n == 0)
                return NAN;
        qsort(sorted.values, sorted.n, sizeof(sorted.values[0]), compare_doubles);
        return (sorted.values[(s->n - 1) / 2] + sorted.values[s->n / 2]) / 2;
}

double series_get_min(const Series *s) {
        double min = NAN;

        for (unsigned i = 0; i < s->n; i++)
                min = fmin(min, s->values[i]); /* which prefers a number to NAN */
        return min;
}

double series_get_max(const Series *s) {
        double max = NAN;

        for (unsigned i = 0; i < s->n; i++)
                max = fmax(max, s->values[i]);
        return max;
}

Series series_divide(const Series *s, const Series *by) {
        Series ratios = {};

        for (unsigned i = 0; i < s->n && i < by->n; i++)
                if (by->values[i] > 0)
                        series_add(&ratios, s->values[i] / by->values[i]);
        return ratios;
}

Series series_choose(const Series *const *of, size_t n, bool largest) {
        Series chosen = {};

        for (unsigned i = 0; i < ROUNDS_MAX; i++) {
                double value = NAN;

                for (size_t k = 0; k < n; k++)
                        if (i < of[k]->n)
                                value = largest ? fmax(value, of[k]->values[i])
                                                : fmin(value, of[k]->values[i]);
                if (isnan(value))
                        break;
                series_add(&chosen, value);
        }
        return chosen;
}

double percentile(uint32_t *samples, size_t n, double share) {
        if (n == 0)
                return NAN;
        qsort(samples, n, sizeof(*samples), compare_samples);
        return samples[(size_t) ((double) (n - 1) * share)];
}
