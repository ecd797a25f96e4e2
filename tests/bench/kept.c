/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The cost of persistence: each delivery of a service that stores connections for the next process, beside
 * one that does not, in one run.
 *
 *     bench-kept [--rounds=N]
 *
 * It exits with 0 for any figures.
 */

#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/rows.h"
#include "bus/keeper.h"
#include "bus/loop.h"
#include "bus/network.h"

#define BACKGROUND_MS 100U

static unsigned arg_rounds = 15;

/* A bus, a service, and the deliveries. */
typedef struct Side {
        TestBus *bus;
        Keeper *keeper; /* NULL: nothing is stored */
        TestService *service;
        Row rows[N_ROWS];
} Side;

static void parse_arguments(int argc, char *argv[]) {
        static const struct option options[] = { { "rounds", required_argument, NULL, 'r' }, {} };
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                if (c != 'r')
                        exit(EXIT_FAILURE);
                arg_rounds = (unsigned) CLAMP(g_ascii_strtoull(optarg, NULL, 10), 1, ROUNDS_MAX);
        }
}

static bool is_wanted(const char *key) {
        return streq(key, "channel") || streq(key, "pull") || streq(key, "signal");
}

static void side_begin(Side *side, bool keeps) {
        side->bus = test_bus_new(NULL);
        side->keeper = keeps ? keeper_new(side->bus) : NULL;
        side->service = keeps ? keeper_start(side->keeper, side->bus) : test_service_new(side->bus, NULL);
        rows_start(side->rows, side->bus, side->service, is_wanted);
}

static void side_end(Side *side) {
        rows_stop(side->rows);
        rows_free(side->rows);
        test_service_free(side->service);
        keeper_free(side->keeper);
        test_bus_free(side->bus);
}

static double get_ratio(const Series *a, const Series *b) {
        Series ratio = series_divide(a, b);

        return series_get_median(&ratio);
}

static void print_results(const Side *plain, const Side *keeping, const Series *background) {
        printf("\n%u rounds; %ld CPUs, of which others used %.0f %% (median) before a round\n\n", arg_rounds,
               sysconf(_SC_NPROCESSORS_ONLN), series_get_median(background) * 100);
        printf("%-10s %12s %12s %8s %8s %8s %10s %12s\n", "", "conn/s", "kept", "ratio", "p50", "ratio",
               "CPU", "kept");
        for (size_t i = 0; i < N_ROWS; i++) {
                const Row *a = plain->rows + i, *b = keeping->rows + i;

                if (a->left_out)
                        continue;
                if (a->missing || b->missing) {
                        printf("%-10s n/a: %s\n", a->key, a->missing ?: b->missing);
                        continue;
                }
                printf("%-10s %12.0f %12.0f %8.3f %5.0f µs %8.3f %7.1f µs %9.1f µs\n", a->key,
                       series_get_median(&a->rate), series_get_median(&b->rate),
                       get_ratio(&b->rate, &a->rate), series_get_median(&b->p50), get_ratio(&b->p50, &a->p50),
                       series_get_median(&a->service_cpu), series_get_median(&b->service_cpu));
        }
}

int main(int argc, char *argv[]) {
        const RoundPlan plan = { .rate_ms = 400, .latency_ms = 150 };
        GPtrArray *notes = g_ptr_array_new_with_free_func(g_free);
        Side plain = {}, keeping = {};
        Series background = {};

        bench_init(&argc, &argv);
        parse_arguments(argc, argv);
        (void) test_enter_private_network();

        side_begin(&plain, false);
        side_begin(&keeping, true);
        for (unsigned i = 1; i <= arg_rounds; i++) {
                series_add(&background, usage_get_background(BACKGROUND_MS));
                round_measure((i % 2 == 1 ? &plain : &keeping)->rows, &plan, i, notes);
                round_measure((i % 2 == 1 ? &keeping : &plain)->rows, &plan, i, notes);
        }

        print_results(&plain, &keeping, &background);
        for (unsigned i = 0; i < notes->len; i++)
                printf("%s\n", (const char *) notes->pdata[i]);

        side_end(&plain);
        side_end(&keeping);
        g_ptr_array_unref(notes);
        return EXIT_SUCCESS;
}
