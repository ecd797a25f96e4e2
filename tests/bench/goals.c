/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/goals.h"

#define N_FORKING (ROW_LAST_FORKING - ROW_FIRST_FORKING + 1)

static void goal_free(void *data) {
        Goal *goal = data;

        g_free(goal->figure);
        g_free(goal);
}

static void add(GPtrArray *goals, double value, bool at_least, double bound, char *figure) {
        Goal *goal = g_new(Goal, 1);

        *goal = (Goal) { .figure = figure, .value = value, .bound = bound, .at_least = at_least };
        if (isnan(value))
                goal->verdict = VERDICT_NONE;
        else if (at_least ? value >= bound : value <= bound)
                goal->verdict = VERDICT_PASS;
        else
                goal->verdict = VERDICT_MISS;
        g_ptr_array_add(goals, goal);
}

static void add_ratio(GPtrArray *goals,
                      const Series *s,
                      const Series *by,
                      bool at_least,
                      double bound,
                      char *figure) {
        Series ratios = series_divide(s, by);

        add(goals, series_get_median(&ratios), at_least, bound, figure);
}

static void add_rate(GPtrArray *goals, const Row *row, const Row *limit, double bound) {
        add_ratio(goals, &row->rate, &limit->rate, true, bound,
                  g_strdup_printf("%s, rate, of the %s", row->name, limit->name));
}

static void add_p50(GPtrArray *goals, const Row *row, const Row *limit, double bound) {
        add_ratio(goals, &row->p50, &limit->p50, false, bound,
                  g_strdup_printf("%s, p50, of the %s", row->name, limit->name));
}

static void add_against_forking(GPtrArray *goals, const Results *results) {
        static const RowId deliveries[] = { ROW_SOCKET, ROW_CHANNEL, ROW_PULL, ROW_SIGNAL };
        const Series *rates[N_FORKING], *p50s[N_FORKING];
        Series rate, p50;

        for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
                rates[i] = &results->rows[ROW_FIRST_FORKING + i].rate;
                p50s[i] = &results->rows[ROW_FIRST_FORKING + i].p50;
        }
        rate = series_choose(rates, G_N_ELEMENTS(rates), true);
        p50 = series_choose(p50s, G_N_ELEMENTS(p50s), false);

        for (unsigned i = 0; i < G_N_ELEMENTS(deliveries); i++) {
                const Row *row = results->rows + deliveries[i];

                add_ratio(goals, &row->rate, &rate, true, 15,
                          g_strdup_printf("%s, rate, of the best forking server", row->name));
                add_ratio(goals, &row->p50, &p50, false, 0.2,
                          g_strdup_printf("%s, p50, of the best forking server", row->name));
        }
}

static void add_idle(GPtrArray *goals, const IdleFigures *idle) {
        bool measured = idle->seconds > 0;

        add(goals, measured ? (double) idle->wake_ups : NAN, false, 0,
            g_strdup_printf("idle service, wake-ups in %.0f s", idle->seconds));
        add(goals, measured ? idle->rss / 1024 : NAN, false, 4, g_strdup("idle service, MiB resident"));
}

static void add_crowd(GPtrArray *goals, const CrowdFigures *crowd) {
        add(goals, crowd->measured ? crowd->bytes / 1024 : NAN, false, 1.5,
            g_strdup_printf("%u listeners, KiB of memory each", CROWD_MANY));
        add_ratio(goals, &crowd->listen[1], &crowd->listen[0], false, 1.2,
                  g_strdup_printf("%u listeners, Listen, of that at %u", CROWD_MANY, CROWD_FEW));
        add_ratio(goals, &crowd->connection[1], &crowd->connection[0], false, 1.1,
                  g_strdup_printf("%u listeners, a connection, of that at %u", CROWD_MANY, CROWD_FEW));
        add(goals, crowd->measured ? crowd->shutdown_ms / 1000 : NAN, false, 1,
            g_strdup_printf("%u listeners, seconds to shut down", CROWD_MANY));
}

GPtrArray *goals_check(const Results *results) {
        GPtrArray *goals = g_ptr_array_new_with_free_func(goal_free);
        const Row *rows = results->rows;

        add_rate(goals, rows + ROW_SOCKET, rows + ROW_BARE_ACCEPT, 0.97);
        add_p50(goals, rows + ROW_SOCKET, rows + ROW_BARE_ACCEPT, 1.05);
        add_rate(goals, rows + ROW_CHANNEL, rows + ROW_BARE_ACCEPT, 0.95);
        add_p50(goals, rows + ROW_CHANNEL, rows + ROW_BARE_BUS, 0.6);
        add_rate(goals, rows + ROW_PULL, rows + ROW_BARE_ACCEPT, 0.9);
        add_rate(goals, rows + ROW_SIGNAL, rows + ROW_BARE_BUS, 0.9);
        add_p50(goals, rows + ROW_SIGNAL, rows + ROW_BARE_BUS, 1.15);
        add_against_forking(goals, results);
        add_idle(goals, &results->idle);
        add_crowd(goals, &results->crowd);
        add_ratio(goals, &results->calls.listen_and_close, &results->calls.empty, true, 0.5,
                  g_strdup("Listen + Close, rate, of two empty calls"));
        return goals;
}

const char *verdict_to_string(Verdict verdict) {
        static const char *const names[] = {
                [VERDICT_PASS] = "pass",
                [VERDICT_MISS] = "miss",
                [VERDICT_NONE] = "n/a",
        };

        return names[verdict];
}
