/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/goals.h"
#include "bench/load.h"

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
        /* The children count, but none of them has a lasting number. */
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
        printf("\nratio: to the bare accept loop, round by round. service: of the bare bus, its sender; of a forking\n"
               "server, itself, and client its children.");
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
