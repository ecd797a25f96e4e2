/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/json.h"

#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/goals.h"
#include "bench/load.h"

static void write_number(FILE *f, const char *key, double number) {
        if (isnan(number))
                fprintf(f, "\"%s\": null", key);
        else
                fprintf(f, "\"%s\": %.10g", key, number);
}

static void write_text(FILE *f, const char *text) {
        putc('"', f);
        for (const char *c = text; *c != '\0'; c++)
                if (*c == '"' || *c == '\\')
                        fprintf(f, "\\%c", *c);
                else if ((unsigned char) *c < ' ')
                        fprintf(f, "\\u%04x", (unsigned) *c);
                else
                        putc(*c, f);
        putc('"', f);
}

static void write_series(FILE *f, const char *key, const Series *s) {
        fprintf(f, "\"%s\": {", key);
        write_number(f, "median", series_get_median(s));
        fputs(", \"rounds\": [", f);
        for (unsigned i = 0; i < s->n; i++)
                fprintf(f, "%s%.10g", i > 0 ? ", " : "", s->values[i]);
        fputs("]}", f);
}

static void write_row(FILE *f, const Row *row) {
        const struct {
                const char *key;
                const Series *series;
        } series[] = {
                { "rate", &row->rate },          { "p50_us", &row->p50 },
                { "p99_us", &row->p99 },         { "service_cpu_us", &row->service_cpu },
                { "bus_cpu_us", &row->bus_cpu }, { "client_cpu_us", &row->client_cpu },
        };
        const struct {
                const char *key;
                double value;
        } numbers[] = {
                { "service_rss_kib", row->service_rss }, { "service_pss_kib", row->service_pss },
                { "bus_rss_kib", row->bus_rss },         { "bus_pss_kib", row->bus_pss },
                { "client_rss_kib", row->client_rss },   { "client_pss_kib", row->client_pss },
                { "connections", (double) row->n },      { "failed", (double) row->failed },
        };

        fprintf(f, "    \"%s\": {\n", row->key);
        if (row->missing) {
                fputs("      \"missing\": ", f);
                write_text(f, row->missing);
                fputs(",\n", f);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(series); i++) {
                fputs("      ", f);
                write_series(f, series[i].key, series[i].series);
                fputs(",\n", f);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
                fputs("      ", f);
                write_number(f, numbers[i].key, numbers[i].value);
                fputs(i + 1 < G_N_ELEMENTS(numbers) ? ",\n" : "\n", f);
        }
        fprintf(f, "    }%s\n", row->id + 1 < N_ROWS ? "," : "");
}

static void write_others(FILE *f, const Results *r) {
        fputs("  \"idle\": {", f);
        write_number(f, "seconds", r->idle.seconds);
        fputs(", ", f);
        write_number(f, "wake_ups", r->idle.seconds > 0 ? (double) r->idle.wake_ups : NAN);
        fputs(", ", f);
        write_number(f, "system_calls", r->idle.system_calls < 0 ? NAN : (double) r->idle.system_calls);
        fputs(", ", f);
        write_number(f, "rss_kib", r->idle.rss);
        fputs(", ", f);
        write_number(f, "pss_kib", r->idle.pss);

        fprintf(f, "},\n  \"listeners\": {\"few\": %u, \"many\": %u, ", CROWD_FEW, CROWD_MANY);
        write_number(f, "bytes_each", !r->crowd.measured ? NAN : r->crowd.bytes);
        fputs(", ", f);
        write_number(f, "shutdown_ms", !r->crowd.measured ? NAN : r->crowd.shutdown_ms);
        fputs(",\n    ", f);
        write_series(f, "listen_us_at_few", &r->crowd.listen[0]);
        fputs(",\n    ", f);
        write_series(f, "listen_us_at_many", &r->crowd.listen[1]);
        fputs(",\n    ", f);
        write_series(f, "connection_us_at_few", &r->crowd.connection[0]);
        fputs(",\n    ", f);
        write_series(f, "connection_us_at_many", &r->crowd.connection[1]);

        fputs("},\n  \"calls\": {\n    ", f);
        write_series(f, "listen_and_close", &r->calls.listen_and_close);
        fputs(",\n    ", f);
        write_series(f, "empty_pair", &r->calls.empty);
        fputs("\n  },\n", f);
}

static void write_goals(FILE *f, GPtrArray *goals) {
        fputs("  \"goals\": [\n", f);
        for (unsigned i = 0; i < goals->len; i++) {
                const Goal *g = goals->pdata[i];

                fputs("    {\"figure\": ", f);
                write_text(f, g->figure);
                fputs(", ", f);
                write_number(f, "value", g->value);
                fprintf(f, ", \"%s\": %g, \"verdict\": \"%s\"}%s\n", g->at_least ? "at_least" : "at_most",
                        g->bound, verdict_to_string(g->verdict), i + 1 < goals->len ? "," : "");
        }
        fputs("  ],\n", f);
}

static void write_all(FILE *f, const Results *r, GPtrArray *goals) {
        struct utsname system;

        g_assert_no_errno(uname(&system));
        fprintf(f, "{\n  \"bus\": \"%s\",\n  \"kernel\": ",
                test_bus_is_broker() ? "dbus-broker" : "dbus-daemon");
        write_text(f, system.release);
        fprintf(f, ",\n  \"cpus\": %ld,\n  \"private_network\": %s,\n  ", sysconf(_SC_NPROCESSORS_ONLN),
                r->private_network ? "true" : "false");
        write_number(f, "seconds", r->seconds);
        fprintf(f, ",\n  \"rounds\": %u,\n  \"rate_ms\": %u,\n  \"latency_ms\": %u,\n", r->rounds,
                r->plan.rate_ms, r->plan.latency_ms);
        fprintf(f, "  \"generators\": %u,\n  \"in_flight\": %u,\n  ", LOAD_GENERATORS, LOAD_IN_FLIGHT);
        write_series(f, "background", &r->background);

        fputs(",\n  \"rows\": {\n", f);
        for (RowId id = 0; id < N_ROWS; id++)
                write_row(f, r->rows + id);
        fputs("  },\n", f);
        write_others(f, r);
        write_goals(f, goals);

        fputs("  \"notes\": [", f);
        for (unsigned i = 0; i < r->notes->len; i++) {
                fputs(i > 0 ? ",\n    " : "\n    ", f);
                write_text(f, r->notes->pdata[i]);
        }
        fputs("]\n}\n", f);
}

bool json_write(const Results *results, GPtrArray *goals, const char *path) {
        FILE *f = fopen(path, "we");
        bool good = f;

        if (f) {
                write_all(f, results, goals);
                good = !ferror(f);
                good = fclose(f) == 0 && good;
        }
        if (!good)
                fprintf(stderr, "Cannot write %s\n", path);
        return good;
}
