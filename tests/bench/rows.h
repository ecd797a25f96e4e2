/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is compared: each row is a set of processes that takes connections at a port, and what was measured.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/helper.h"
#include "bench/series.h"
#include "bus/service.h"

typedef enum RowId {
        ROW_BARE_ACCEPT,
        ROW_SOCKET,
        ROW_CHANNEL,
        ROW_PULL,
        ROW_BARE_BUS,
        ROW_SIGNAL,
        ROW_TCPSERVER,
        ROW_SOCKET_ACTIVATE,
        ROW_SOCAT,
        ROW_XINETD,
        ROW_TCPSERVER_STATIC, /* to tell the server's share from the dynamic linker's; no goal depends on it
                               */
        N_ROWS,
} RowId;

#define ROW_FIRST_FORKING ROW_TCPSERVER
#define ROW_LAST_FORKING ROW_XINETD

/* What one row is made of. 0 where there is none. */
typedef struct RowProcesses {
        pid_t service; /* or what takes its place: the sender of the bare bus, the forking server */
        pid_t bus;
        pid_t client;
} RowProcesses;

typedef struct Row {
        RowId id;
        const char *name;
        const char *key; /* in the JSON file */
        bool left_out;   /* nobody wants to know */
        char *missing;   /* why there is nothing to be measured; NULL: there is */

        Helper *sender; /* of the bare bus */
        Helper *helper; /* the client, or the forking server */
        RowProcesses processes;
        uint16_t port;

        Series rate;                             /* connections a second */
        Series p50, p99;                         /* connect to first byte, in µs */
        Series service_cpu, bus_cpu, client_cpu; /* in µs a connection */
        double service_rss, bus_rss, client_rss; /* in KiB, at the end; Pss beside */
        double service_pss, bus_pss, client_pss;
        uint64_t n;      /* connections in all */
        uint64_t failed; /* of which so many */
} Row;

static inline bool row_is_there(const Row *row) {
        return !row->left_out && !row->missing;
}

static inline bool row_is_forking(const Row *row) {
        return row->id >= ROW_FIRST_FORKING;
}

/* Whether what has this key shall be measured. */
typedef bool (*RowFilter)(const char *key);

/* Starts what the rows need. What cannot be started is missing, and the row says why. */
void rows_start(Row rows[static N_ROWS], TestBus *bus, TestService *service, RowFilter is_wanted);
/* Ends all that; the figures stay. */
void rows_stop(Row rows[static N_ROWS]);
void rows_free(Row rows[static N_ROWS]);

/* Of dbus-broker, the process that does the work. */
pid_t rows_get_bus_pid(TestBus *bus);
