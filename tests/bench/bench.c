/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The benchmark: the deliveries beside what they replace, in one run.
 *
 *     bench [--quick] [--rounds=N] [--idle=SECONDS] [--only=KEY,…] [--json=FILE]
 *
 * README.md beside this file explains the figures. It exits with 0 for any figures.
 */

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/macros.h"
#include "bench/report.h"
#include "bus/loop.h"
#include "bus/network.h"

#define BACKGROUND_MS 100U
/* With a larger share of the CPUs' time used by other programs, the figures are not reliable. */
#define BACKGROUND_MAX 0.1

/* Numbers of rounds and durations. */
typedef struct Effort {
        unsigned rounds;
        RoundPlan plan;
        unsigned call_rounds, call_ms;
        unsigned crowd_rounds;
        unsigned idle_seconds;
        unsigned patience_ms; /* the longest time, in all, to wait for other programs */
} Effort;

static const Effort usual = {
        .rounds = 15,
        .plan = { .rate_ms = 400, .latency_ms = 150 },
        .call_rounds = 10,
        .call_ms = 100,
        .crowd_rounds = 10,
        .idle_seconds = 60,
        .patience_ms = 30000,
};

static const Effort quick = {
        .rounds = 3,
        .plan = { .rate_ms = 250, .latency_ms = 100 },
        .call_rounds = 3,
        .call_ms = 50,
        .crowd_rounds = 3,
        .idle_seconds = 10,
        .patience_ms = 2000,
};

static const char *arg_json = NULL;
static char **arg_only = NULL; /* NULL: everything */

static Effort parse_arguments(int argc, char *argv[]) {
        enum {
                ARG_QUICK = 0x100,
                ARG_ROUNDS,
                ARG_IDLE,
                ARG_ONLY,
                ARG_JSON
        };
        static const struct option options[] = { { "quick", no_argument, NULL, ARG_QUICK },
                                                 { "rounds", required_argument, NULL, ARG_ROUNDS },
                                                 { "idle", required_argument, NULL, ARG_IDLE },
                                                 { "only", required_argument, NULL, ARG_ONLY },
                                                 { "json", required_argument, NULL, ARG_JSON },
                                                 {} };
        const char *idle = g_getenv("BENCH_IDLE_SECONDS"), *rounds = NULL;
        Effort effort = usual;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {

                case ARG_QUICK:
                        effort = quick;
                        break;

                case ARG_ROUNDS:
                        rounds = optarg;
                        break;

                case ARG_IDLE:
                        idle = optarg;
                        break;

                case ARG_ONLY:
                        arg_only = g_strsplit(optarg, ",", -1);
                        break;

                case ARG_JSON:
                        arg_json = optarg;
                        break;

                default:
                        exit(EXIT_FAILURE);
                }

        if (rounds)
                effort.rounds = (unsigned) CLAMP(g_ascii_strtoull(rounds, NULL, 10), 1, ROUNDS_MAX);
        if (idle && idle[0] != '\0')
                effort.idle_seconds = (unsigned) g_ascii_strtoull(idle, NULL, 10);
        return effort;
}

static bool is_wanted(const char *key) {
        return !arg_only || g_strv_contains((const char *const *) arg_only, key);
}

/* Shows the progress in a line that is overwritten. */
_printf_(1, 2) static void progress(const char *format, ...) {
        va_list arguments;

        if (!isatty(STDERR_FILENO))
                return;
        fputs("\r\033[K", stderr);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
}

/* Waits until other programs use little CPU time, or the patience is used up. Returns their share. */
static double wait_for_quiet(unsigned *patience_ms) {
        double background = usage_get_background(BACKGROUND_MS);

        while (background > BACKGROUND_MAX && *patience_ms >= BACKGROUND_MS) {
                background = usage_get_background(BACKGROUND_MS);
                *patience_ms -= BACKGROUND_MS;
        }
        return background;
}

static void measure(Results *r, const Effort *effort) {
        TestBus *bus = test_bus_new(NULL);
        TestService *service = test_service_new(bus, NULL);
        unsigned patience_ms = effort->patience_ms;

        rows_start(r->rows, bus, service, is_wanted);
        for (unsigned i = 1; i <= effort->rounds; i++) {
                progress("round %u of %u", i, effort->rounds);
                series_add(&r->background, wait_for_quiet(&patience_ms));
                round_measure(r->rows, &r->plan, i, r->notes);
        }
        rounds_measure_memory(r->rows);
        rows_stop(r->rows);

        if (is_wanted("calls"))
                r->calls = calls_measure(bus, service, effort->call_rounds, effort->call_ms);
        test_service_free(service);
        test_bus_free(bus);
}

static void note_background(Results *r) {
        double median = series_get_median(&r->background);

        if (median > BACKGROUND_MAX)
                g_ptr_array_add(r->notes,
                                g_strdup_printf("other programs used %.0f %% of the CPUs: measure again "
                                                "when they are done",
                                                median * 100));
}

static int run(const Effort *effort) {
        Results r = {
                .plan = effort->plan,
                .rounds = effort->rounds,
                .partial = arg_only,
                .private_network = test_enter_private_network(),
                .notes = g_ptr_array_new_with_free_func(g_free),
        };
        uint64_t start = test_now();
        GPtrArray *goals;
        bool good = true;
        Idle *idle = NULL;

        if (is_wanted("idle"))
                idle = idle_start();
        measure(&r, effort);
        if (is_wanted("listeners")) {
                progress("%u listeners", CROWD_MANY);
                r.crowd = crowd_measure(effort->crowd_rounds);
        }
        if (idle) {
                progress("an idle service, watched for %u s from the start", effort->idle_seconds);
                r.idle = idle_finish(idle, effort->idle_seconds);
        }
        progress("%s", "");
        r.seconds = (double) (test_now() - start) / 1e6;

        note_background(&r);

        goals = goals_check(&r);
        report_print(&r, goals);
        if (arg_json)
                good = report_write_json(&r, goals, arg_json);

        g_ptr_array_unref(goals);
        g_ptr_array_unref(r.notes);
        rows_free(r.rows);
        g_strfreev(arg_only);
        return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char *argv[]) {
        Effort effort;

        bench_init(&argc, &argv);
        effort = parse_arguments(argc, argv);
        return run(&effort);
}
