/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/load.h"

/* --- The goals --- */

#define N_FORKING (ROW_LAST_FORKING - ROW_FIRST_FORKING + 1)

static void goal_free(void *data) {
        Goal *goal = data;

        g_free(goal->figure);
        g_free(goal);
}

static void add_goal(GPtrArray *goals, double value, bool at_least, double bound, char *figure) {
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

        add_goal(goals, series_get_median(&ratios), at_least, bound, figure);
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
        static const RowId deliveries[] = { ROW_SOCKET, ROW_CHANNEL, ROW_CHANNEL_BATCH,
                                            ROW_PULL,   ROW_SIGNAL,  ROW_CALL };
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

        add_goal(goals, measured ? (double) idle->wake_ups : NAN, false, 0,
                 g_strdup_printf("idle service, wake-ups in %.0f s", idle->seconds));
        add_goal(goals, measured ? idle->rss / 1024 : NAN, false, 4, g_strdup("idle service, MiB resident"));
}

static void add_crowd(GPtrArray *goals, const CrowdFigures *crowd) {
        add_goal(goals, crowd->measured ? crowd->bytes / 1024 : NAN, false, 1.5,
                 g_strdup_printf("%u listeners, KiB of memory each", CROWD_MANY));
        add_ratio(goals, &crowd->listen[1], &crowd->listen[0], false, 1.2,
                  g_strdup_printf("%u listeners, Listen, of that at %u", CROWD_MANY, CROWD_FEW));
        add_ratio(goals, &crowd->connection[1], &crowd->connection[0], false, 1.1,
                  g_strdup_printf("%u listeners, a connection, of that at %u", CROWD_MANY, CROWD_FEW));
        add_goal(goals, crowd->measured ? crowd->shutdown_ms / 1000 : NAN, false, 1,
                 g_strdup_printf("%u listeners, seconds to shut down", CROWD_MANY));
}

GPtrArray *goals_check(const Results *results) {
        GPtrArray *goals = g_ptr_array_new_with_free_func(goal_free);
        const Row *rows = results->rows;

        add_rate(goals, rows + ROW_SOCKET, rows + ROW_BARE_ACCEPT, 0.97);
        add_p50(goals, rows + ROW_SOCKET, rows + ROW_BARE_ACCEPT, 1.05);
        add_rate(goals, rows + ROW_CHANNEL, rows + ROW_BARE_ACCEPT, 0.88);
        add_rate(goals, rows + ROW_CHANNEL_BATCH, rows + ROW_BARE_ACCEPT, 0.95);
        add_p50(goals, rows + ROW_CHANNEL, rows + ROW_BARE_BUS, 0.6);
        add_rate(goals, rows + ROW_PULL, rows + ROW_BARE_ACCEPT, 0.75);
        add_rate(goals, rows + ROW_SIGNAL, rows + ROW_BARE_BUS, 0.95);
        add_p50(goals, rows + ROW_SIGNAL, rows + ROW_BARE_BUS, 1.15);
        add_rate(goals, rows + ROW_CALL, rows + ROW_BARE_CALL, 0.9);
        add_p50(goals, rows + ROW_CALL, rows + ROW_BARE_CALL, 1.15);
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

/* --- The results for people --- */

static void print_head(const Results *r) {
        struct utsname system;

        g_assert_no_errno(uname(&system));
        printf("\n%u rounds of %u ms a row by %u generators with %u connections under way each, and of %u ms by one "
               "with one;\n"
               "%s, Linux %s, %ld CPUs, of which others used %.0f %% (median; at the most %.0f %%) before a round; "
               "%.0f s in all\n\n",
               r->rounds, r->plan.rate_ms, LOAD_GENERATORS, LOAD_IN_FLIGHT, r->plan.latency_ms,
               test_bus_is_broker() ? "dbus-broker" : "dbus-daemon", system.release,
               sysconf(_SC_NPROCESSORS_ONLN), series_get_median(&r->background) * 100,
               series_get_max(&r->background) * 100, r->seconds);
}

static void print_number(double number, int width, int decimals) {
        if (isnan(number))
                printf(" %*s", width, "-");
        else
                printf(" %*.*f", width, decimals, number);
}

static void print_cpu(const Series *s, pid_t pid) {
        print_number(pid > 0 ? series_get_median(s) : NAN, 8, 1);
}

static void print_memory(double kib, double pss) {
        g_autofree char *text = kib > 0 ? g_strdup_printf("%.1f (%.1f)", kib / 1024, pss / 1024)
                                        : g_strdup("-");

        printf(" %12s", text);
}

static void print_row(const Row *row, const Row *limit) {
        Series ratio = series_divide(&row->rate, &limit->rate);
        /* The children of a forking server count, but none of them lasts. */
        pid_t client = row_is_forking(row) ? row->processes.service : row->processes.client;

        if (row->left_out)
                return;
        printf("%-24s", row->name);
        if (row->missing) {
                printf("  n/a: %s\n", row->missing);
                return;
        }

        print_number(series_get_median(&row->rate), 8, 0);
        print_number(series_get_min(&row->rate), 7, 0);
        print_number(series_get_max(&row->rate), 7, 0);
        print_number(series_get_median(&ratio), 6, 3);
        print_number(series_get_median(&row->p50), 8, 1);
        print_number(series_get_median(&row->p99), 7, 0);
        print_cpu(&row->service_cpu, row->processes.service);
        print_cpu(&row->bus_cpu, row->processes.bus);
        print_cpu(&row->client_cpu, client);
        print_memory(row->service_rss, row->service_pss);
        print_memory(row->client_rss, row->client_pss);
        putchar('\n');
}

static void print_rows(const Results *r) {
        printf("%-24s %31s %16s %26s %25s\n", "", "connections a second", "first byte, µs ",
               "CPU, µs a connection", "resident (Pss), MiB");
        printf("%-24s %8s %7s %7s %6s %8s %7s %8s %8s %8s %12s %12s\n", "", "median", "min", "max", "ratio",
               "p50", "p99", "service", "bus", "client", "service", "client");
        for (RowId id = 0; id < N_ROWS; id++)
                print_row(r->rows + id, r->rows + ROW_BARE_ACCEPT);
        printf("\nratio: to the bare accept loop, round by round. service: of the bare bus and the bare call, the sender;\n"
               "of a forking server, itself, and client its children.");
        for (const Row *row = r->rows; row < r->rows + N_ROWS; row++)
                if (row->bus_rss > 0) {
                        printf(" The bus: %.1f (%.1f) MiB.", row->bus_rss / 1024, row->bus_pss / 1024);
                        break;
                }
        putchar('\n');
}

static void print_idle(const IdleFigures *idle) {
        printf("idle for %.0f s: %" PRIu64 " wake-ups, ", idle->seconds, idle->wake_ups);
        if (idle->system_calls >= 0)
                printf("%" PRIi64 " system calls, ", idle->system_calls);
        printf("%.1f (%.1f) MiB\n", idle->rss / 1024, idle->pss / 1024);
}

static void print_crowd(const CrowdFigures *crowd) {
        if (crowd->missing) {
                printf("%u listeners: n/a: %s\n", CROWD_MANY, crowd->missing);
                return;
        }
        printf("%u listeners: %.0f bytes each; Listen %.0f µs, at %u %.0f µs; a connection %.0f µs, at %u %.0f µs; "
               "shut down in %.0f ms\n",
               CROWD_MANY, crowd->bytes, series_get_median(&crowd->listen[1]), CROWD_FEW,
               series_get_median(&crowd->listen[0]), series_get_median(&crowd->connection[1]), CROWD_FEW,
               series_get_median(&crowd->connection[0]), crowd->shutdown_ms);
}

static void print_others(const Results *r) {
        putchar('\n');
        if (r->idle.seconds > 0)
                print_idle(&r->idle);
        if (r->crowd.measured || r->crowd.missing)
                print_crowd(&r->crowd);
        if (r->calls.empty.n > 0)
                printf("Listen + Close: %.0f pairs a second, of empty calls %.0f\n",
                       series_get_median(&r->calls.listen_and_close), series_get_median(&r->calls.empty));
}

static void print_goals(const Results *r, GPtrArray *goals) {
        printf("\n%-48s %10s %12s\n", "goals", "figure", "goal");
        for (unsigned i = 0; i < goals->len; i++) {
                const Goal *g = goals->pdata[i];

                if (r->partial && g->verdict == VERDICT_NONE)
                        continue;
                printf("%-48s", g->figure);
                print_number(g->value, 10, 3);
                printf(" %s %7.2f  %s\n", g->at_least ? "  >=" : "  <=", g->bound,
                       verdict_to_string(g->verdict));
        }
}

static void print_notes(const Results *r) {
        putchar('\n');
        for (unsigned i = 0; i < r->notes->len; i++)
                printf("note: %s\n", (const char *) r->notes->pdata[i]);
        if (r->notes->len == 0)
                puts("no SYN was dropped or sent again, and no connection failed");
}

void report_print(const Results *results, GPtrArray *goals) {
        print_head(results);
        print_rows(results);
        print_others(results);
        print_goals(results, goals);
        print_notes(results);
}

/* --- The results for programs, with every round of every figure --- */

static void add(json_object *o, const char *key, json_object *value) {
        g_assert_cmpint(json_object_object_add(o, key, value), ==, 0);
}

static void add_number(json_object *o, const char *key, double number) {
        add(o, key, number_to_json(number));
}

static void add_text(json_object *o, const char *key, const char *text) {
        add(o, key, json_object_new_string(text));
}

static json_object *row_to_json(const Row *row) {
        json_object *o = json_object_new_object();

        if (row->missing)
                add_text(o, "missing", row->missing);
        add(o, "rate", series_to_json(&row->rate));
        add(o, "p50_us", series_to_json(&row->p50));
        add(o, "p99_us", series_to_json(&row->p99));
        add(o, "service_cpu_us", series_to_json(&row->service_cpu));
        add(o, "bus_cpu_us", series_to_json(&row->bus_cpu));
        add(o, "client_cpu_us", series_to_json(&row->client_cpu));
        add_number(o, "service_rss_kib", row->service_rss);
        add_number(o, "service_pss_kib", row->service_pss);
        add_number(o, "bus_rss_kib", row->bus_rss);
        add_number(o, "bus_pss_kib", row->bus_pss);
        add_number(o, "client_rss_kib", row->client_rss);
        add_number(o, "client_pss_kib", row->client_pss);
        add(o, "connections", json_object_new_uint64(row->n));
        add(o, "failed", json_object_new_uint64(row->failed));
        return o;
}

static json_object *idle_to_json(const IdleFigures *idle) {
        json_object *o = json_object_new_object();

        add_number(o, "seconds", idle->seconds);
        add_number(o, "wake_ups", idle->seconds > 0 ? (double) idle->wake_ups : NAN);
        add_number(o, "system_calls", idle->system_calls < 0 ? NAN : (double) idle->system_calls);
        add_number(o, "rss_kib", idle->rss);
        add_number(o, "pss_kib", idle->pss);
        return o;
}

static json_object *crowd_to_json(const CrowdFigures *crowd) {
        json_object *o = json_object_new_object();

        add_number(o, "few", CROWD_FEW);
        add_number(o, "many", CROWD_MANY);
        add_number(o, "bytes_each", crowd->measured ? crowd->bytes : NAN);
        add_number(o, "shutdown_ms", crowd->measured ? crowd->shutdown_ms : NAN);
        add(o, "listen_us_at_few", series_to_json(&crowd->listen[0]));
        add(o, "listen_us_at_many", series_to_json(&crowd->listen[1]));
        add(o, "connection_us_at_few", series_to_json(&crowd->connection[0]));
        add(o, "connection_us_at_many", series_to_json(&crowd->connection[1]));
        return o;
}

static json_object *calls_to_json(const CallFigures *calls) {
        json_object *o = json_object_new_object();

        add(o, "listen_and_close", series_to_json(&calls->listen_and_close));
        add(o, "empty_pair", series_to_json(&calls->empty));
        return o;
}

static json_object *goals_to_json(GPtrArray *goals) {
        json_object *array = json_object_new_array();

        for (unsigned i = 0; i < goals->len; i++) {
                const Goal *g = goals->pdata[i];
                json_object *o = json_object_new_object();

                add_text(o, "figure", g->figure);
                add_number(o, "value", g->value);
                add_number(o, g->at_least ? "at_least" : "at_most", g->bound);
                add_text(o, "verdict", verdict_to_string(g->verdict));
                json_object_array_add(array, o);
        }
        return array;
}

bool report_write_json(const Results *r, GPtrArray *goals, const char *path) {
        json_object *o = json_object_new_object(), *rows = json_object_new_object(),
                    *notes = json_object_new_array();
        struct utsname system;

        g_assert_no_errno(uname(&system));
        add_text(o, "bus", test_bus_is_broker() ? "dbus-broker" : "dbus-daemon");
        add_text(o, "kernel", system.release);
        add_number(o, "cpus", (double) sysconf(_SC_NPROCESSORS_ONLN));
        add(o, "private_network", json_object_new_boolean(r->private_network));
        add_number(o, "seconds", r->seconds);
        add_number(o, "rounds", r->rounds);
        add_number(o, "rate_ms", r->plan.rate_ms);
        add_number(o, "latency_ms", r->plan.latency_ms);
        add_number(o, "generators", LOAD_GENERATORS);
        add_number(o, "in_flight", LOAD_IN_FLIGHT);
        add(o, "background", series_to_json(&r->background));
        for (RowId id = 0; id < N_ROWS; id++)
                add(rows, r->rows[id].key, row_to_json(r->rows + id));
        add(o, "rows", rows);
        add(o, "idle", idle_to_json(&r->idle));
        add(o, "listeners", crowd_to_json(&r->crowd));
        add(o, "calls", calls_to_json(&r->calls));
        add(o, "goals", goals_to_json(goals));
        for (unsigned i = 0; i < r->notes->len; i++)
                json_object_array_add(notes, json_object_new_string(r->notes->pdata[i]));
        add(o, "notes", notes);
        return write_json(o, path);
}
