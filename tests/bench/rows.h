/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "bench/measure.h"
#include "bus/message-bus.h"
#include "bus/process.h"
#include "bus/service.h"

/* --- The programs that are measured; each prints "ready" when it is --- */

/* What each benchmark starts with: test_init(), without GLib's line about the seed of its random numbers. */
void bench_init(int *argc, char ***argv);

typedef struct Helper {
        TestChild *child;
        char *log;       /* the file that it writes to */
        char *last_line; /* before "ready", or before its end */
} Helper;

/* argv[0] is found beside this program, or by $PATH. Its bus, if it needs any, is this one. */
Helper *helper_start(const char *const *argv, TestBus *bus, const char *log_name);
/* Waits for "ready". Returns false if the program has ended instead. */
bool helper_wait_ready(Helper *h, unsigned milliseconds);
/* The numbers that it has printed, one a line. */
GArray *helper_read_ports(Helper *h);
void helper_free(Helper *h);

/* The full name of a program beside this one. */
char *helper_find(const char *name);
/* A new connection of this process's own, which is not attached to the event loop. */
sd_bus *helper_connect(TestBus *bus);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Helper, helper_free)

/* --- The rows: each is a set of processes that takes connections at a port, and its figures --- */

typedef enum RowId {
        ROW_BARE_ACCEPT,
        ROW_SOCKET,
        ROW_GLIB_SOCKET,
        ROW_CHANNEL,
        ROW_CHANNEL_BATCH,
        ROW_PULL,
        ROW_BARE_BUS,
        ROW_SIGNAL,
        ROW_BARE_CALL,
        ROW_CALL,
        ROW_GLIB_CALL,
        ROW_TCPSERVER,
        ROW_SOCKET_ACTIVATE,
        ROW_SOCAT,
        ROW_XINETD,
        ROW_TCPSERVER_STATIC, /* shows the dynamic linker's share; no goal depends on it */
        N_ROWS,
} RowId;

#define ROW_FIRST_FORKING ROW_TCPSERVER
#define ROW_LAST_FORKING ROW_XINETD

/* The processes of a row. 0 where there is none. */
typedef struct RowProcesses {
        pid_t service; /* or the sender of a bare row, or the forking server */
        pid_t bus;
        pid_t client;
} RowProcesses;

typedef struct Row {
        RowId id;
        const char *name;
        const char *key; /* in the JSON file */
        bool left_out;   /* not asked for */
        char *missing;   /* why the row cannot be measured, or NULL */

        Helper *sender; /* of the bare bus and the bare call */
        Helper *helper; /* the client, or the forking server */
        RowProcesses processes;
        uint16_t port;

        Series rate;                             /* connections a second */
        Series p50, p99;                         /* connect to first byte, in µs */
        Series service_cpu, bus_cpu, client_cpu; /* in µs a connection */
        double service_rss, bus_rss, client_rss; /* in KiB, at the end; Pss beside */
        double service_pss, bus_pss, client_pss;
        uint64_t n;      /* connections in all */
        uint64_t failed; /* of these */
} Row;

static inline bool row_is_there(const Row *row) {
        return !row->left_out && !row->missing;
}

static inline bool row_is_forking(const Row *row) {
        return row->id >= ROW_FIRST_FORKING;
}

/* Whether the figures with this key shall be measured. */
typedef bool (*RowFilter)(const char *key);

/* Starts the processes of all rows. A row that cannot be started is missing and says why. */
void rows_start(Row rows[static N_ROWS], TestBus *bus, TestService *service, RowFilter is_wanted);
/* Ends the processes and keeps the figures. */
void rows_stop(Row rows[static N_ROWS]);
void rows_free(Row rows[static N_ROWS]);

/* Of dbus-broker, the process that does the work. */
pid_t rows_get_bus_pid(TestBus *bus);

/* --- The rounds: each measures all rows once, one after the other, so that other load on the machine affects
 * all of them --- */

typedef struct RoundPlan {
        unsigned rate_ms, latency_ms; /* for each row */
} RoundPlan;

/* Adds to the rows' figures, and failures to the notes, as text. */
void round_measure(Row rows[static N_ROWS], const RoundPlan *plan, unsigned number, GPtrArray *notes);

/* After the last one. */
void rounds_measure_memory(Row rows[static N_ROWS]);
