/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/rounds.h"

#include <inttypes.h>

#include "bench/load.h"
#include "bench/placement.h"
#include "bench/usage.h"

/* What the last connections have left to be done is done. */
#define SETTLE_MS 20U

static void note_drops(const Row *row, unsigned number, const Drops *before, GPtrArray *notes) {
        Drops after = usage_get_drops();
        uint64_t overflows = after.listen_overflows - before->listen_overflows;
        uint64_t drops = after.listen_drops - before->listen_drops;
        uint64_t retransmissions = after.syn_retransmissions - before->syn_retransmissions;

        if (overflows + drops + retransmissions > 0)
                g_ptr_array_add(notes, g_strdup_printf("round %u, %s: %" PRIu64 " listen overflows, %" PRIu64
                                                       " dropped and %" PRIu64 " retransmitted SYNs",
                                                       number, row->name, overflows, drops, retransmissions));
}

static void note_failures(Row *row,
                          unsigned number,
                          uint64_t n,
                          uint64_t failed,
                          uint64_t stuck,
                          GPtrArray *notes) {
        row->n += n;
        row->failed += failed + stuck;
        if (failed + stuck > 0)
                g_ptr_array_add(notes, g_strdup_printf("round %u, %s: of %" PRIu64 " connections %" PRIu64
                                                       " failed and %" PRIu64 " did not end",
                                                       number, row->name, n, failed, stuck));
}

typedef struct CpuTimes {
        double service, bus, client;
} CpuTimes;

/* The handlers of a forking server, its children, are what elsewhere is the client. */
static CpuTimes get_cpu_times(const Row *row) {
        return (CpuTimes) {
                .service = usage_get_cpu(row->processes.service),
                .bus = usage_get_cpu(row->processes.bus),
                .client = row_is_forking(row) ? usage_get_children_cpu(row->processes.service)
                                              : usage_get_cpu(row->processes.client),
        };
}

static void measure_rate(Row *row, const RoundPlan *plan, unsigned number, GPtrArray *notes) {
        CpuTimes before = get_cpu_times(row), after;
        Drops drops = usage_get_drops();
        LoadRate load;

        load = load_measure_rate(row->port, plan->rate_ms);
        g_usleep(SETTLE_MS * 1000);
        after = get_cpu_times(row);

        note_drops(row, number, &drops, notes);
        note_failures(row, number, load.n, load.failed, load.stuck, notes);
        if (load.n == 0) {
                row->missing = g_strdup("stopped answering");
                return;
        }
        series_add(&row->rate, load.rate);
        series_add(&row->service_cpu, (after.service - before.service) / (double) load.n);
        series_add(&row->bus_cpu, (after.bus - before.bus) / (double) load.n);
        series_add(&row->client_cpu, (after.client - before.client) / (double) load.n);
}

static void place_row(const Row *row, void (*place)(pid_t pid)) {
        place(row->processes.service);
        place(row->processes.bus);
        place(row->processes.client);
}

static void measure_latency(Row *row, const RoundPlan *plan, unsigned number, GPtrArray *notes) {
        Drops drops = usage_get_drops();
        LoadLatency load;

        place_row(row, place_server);
        load = load_measure_latency(row->port, plan->latency_ms);
        place_row(row, place_anywhere);
        g_usleep(SETTLE_MS * 1000);

        note_drops(row, number, &drops, notes);
        note_failures(row, number, load.n, load.failed, 0, notes);
        if (load.n == 0) {
                row->missing = g_strdup("stopped answering");
                return;
        }
        series_add(&row->p50, load.p50_us);
        series_add(&row->p99, load.p99_us);
}

void round_measure(Row rows[static N_ROWS], const RoundPlan *plan, unsigned number, GPtrArray *notes) {
        void (*const measures[])(Row *, const RoundPlan *, unsigned, GPtrArray *) = { measure_rate,
                                                                                      measure_latency };

        for (size_t m = 0; m < G_N_ELEMENTS(measures); m++)
                for (unsigned i = 0; i < N_ROWS; i++) {
                        /* There and back again: nobody is always the one who comes after xinetd. */
                        Row *row = rows + (number % 2 == 1 ? i : N_ROWS - 1 - i);

                        if (row_is_there(row))
                                measures[m](row, plan, number, notes);
                }
}

void rounds_measure_memory(Row rows[static N_ROWS]) {
        for (Row *row = rows; row < rows + N_ROWS; row++) {
                row->service_rss = usage_get_rss(row->processes.service);
                row->service_pss = usage_get_pss(row->processes.service);
                row->bus_rss = usage_get_rss(row->processes.bus);
                row->bus_pss = usage_get_pss(row->processes.bus);
                row->client_rss = usage_get_rss(row->processes.client);
                row->client_pss = usage_get_pss(row->processes.client);
        }
}
