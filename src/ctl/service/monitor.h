/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the service tells its clients, overheard.
 *
 * Its signals are for the owners of the listeners alone, so that this takes the bus's BecomeMonitor, which
 * the system bus allows root. What is overheard: signals, and the replies of Accept. What goes through a
 * channel does not pass the bus; how many connections that were is asked for once a second while there is
 * one. Of delivery "socket" nothing can be known, not by the service either.
 *
 * The bus hands a monitor copies of the connections' descriptors, and while it has too many of them that
 * nobody reads, it stops reading from the service. So this reads whatever happens; what the reader of the
 * output does not take is for output.h to drop.
 */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"

typedef enum MonitorEventType {
        MONITOR_CONNECTION,
        MONITOR_CONNECTIONS, /* several, through a channel */
        MONITOR_ERROR,
        MONITOR_PENDING,
        MONITOR_CLOSED,
} MonitorEventType;

/* Strings are borrowed, and strangers'. */
typedef struct MonitorEvent {
        MonitorEventType type;
        const char *listener; /* the path */
        const char *client;   /* whom the service has told; "" if that is not known */

        const char *remote_address; /* of a connection, as the next five */
        uint16_t remote_port;
        const char *local_address;
        uint16_t local_port;
        const char *binary_type;
        uint64_t serial;

        uint64_t count; /* of connections */

        const char *message; /* of an error, as the next three */
        const char *filename;
        uint32_t line;
        uint32_t column;

        const char *reason; /* of the end */
} MonitorEvent;

typedef struct Monitor Monitor;
typedef void (*MonitorHandler)(const MonitorEvent *event, void *userdata);

/* Both say what went wrong when they return a negative errno. When the bus ends the connection, so does the
 * loop, with EXIT_FAILURE. */
int monitor_new(Context *c, sd_event *event, MonitorHandler handler, void *userdata, Monitor **ret);
Monitor *monitor_free(Monitor *m);

/* Leaves the bus, for a process that is about to be stopped, and comes back. */
void monitor_disconnect(Monitor *m);
int monitor_reconnect(Monitor *m);
