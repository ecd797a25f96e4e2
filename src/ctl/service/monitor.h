/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Monitors the messages of the service to its clients.
 *
 * The service sends its signals only to the owners of the listeners. The monitor therefore calls
 * BecomeMonitor of the bus, which the system bus allows only root. It reads signals and replies of Accept.
 * Connections through a channel, refused ones, and the end of a listener without an owner do not pass the
 * bus: the listeners are listed once a second while there is one. With delivery "socket", the service itself
 * does not see the connections.
 *
 * The bus sends a monitor copies of the connections' descriptors, and stops reading from the service when too
 * many of them are unread. So the monitor always reads, and output.h drops lines if the output is read too
 * slowly.
 */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"

typedef enum MonitorEventType {
        MONITOR_CONNECTION,
        MONITOR_CONNECTIONS, /* several, through a channel */
        MONITOR_REFUSED,     /* several */
        MONITOR_ERROR,
        MONITOR_PENDING,
        MONITOR_LISTENING, /* a new listener */
        MONITOR_CLOSED,
        MONITOR_SERVICE, /* it has got its name on the bus, or lost it */
} MonitorEventType;

/* The strings are borrowed, and not escaped: other programs chose them. */
typedef struct MonitorEvent {
        MonitorEventType type;
        const char *listener; /* the path; NULL for MONITOR_SERVICE */
        const char *client; /* the receiver of the message; "" if it is not known. Of MONITOR_SERVICE: itself
                             */

        const char *local_address; /* of a connection or a new listener, as the next member */
        uint16_t local_port;
        const char *name; /* of a new listener, as the next two members */
        const char *delivery;
        bool persistent;

        const char *remote_address; /* of a connection, as the next three members */
        uint16_t remote_port;
        const char *binary_type;
        uint64_t serial;

        uint64_t count; /* of connections */

        const char *message; /* of an error, as the next three members */
        const char *filename;
        uint32_t line;
        uint32_t column;

        const char *reason; /* of the end; "unknown" if the service did not say it to a client */

        bool is_running; /* the service */
} MonitorEvent;

typedef struct Monitor Monitor;
typedef void (*MonitorHandler)(const MonitorEvent *event, void *userdata);

/* The functions that return an int print an error message when it is negative. When the bus closes the
 * connection, the loop ends with EXIT_FAILURE. */
int monitor_new(Context *c, sd_event *event, MonitorHandler handler, void *userdata, Monitor **ret);
Monitor *monitor_free(Monitor *m);

/* Leaves the bus before the process stops, and comes back when it continues. */
void monitor_disconnect(Monitor *m);
int monitor_reconnect(Monitor *m);
