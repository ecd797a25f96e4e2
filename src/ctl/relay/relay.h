/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The loop of "relay": an epoll of its own for the connections, which is faster than sd-event, and the
 * sd-event loop of the bus and of signals as one of its descriptors. */

#include <systemd/sd-event.h>

#include "ctl/relay/bridge.h"
#include "ctl/service/connection-source.h"

typedef struct Relay Relay;

typedef struct RelayParameters {
        sd_event *event;              /* ends the relay's loop when it ends */
        ConnectionSource connections; /* consumed */
        uint16_t port;                /* where it listens */
        Target target;                /* consumed */
        ProxyProtocol proxy_protocol;
        unsigned max_connections, max_connections_per_source; /* 0: no limit */
        void (*source_ended)(void *userdata);                 /* no more connections come */
        void *userdata;
} RelayParameters;

/* Consumes connections and target, also on failure. */
int relay_new(const RelayParameters *parameters, Relay **ret);
/* Resets the connections that have not ended. */
Relay *relay_free(Relay *r);

/* Runs until sd_event_exit() is called, and returns its code; or, after relay_finish(), until the last
 * connection has ended, and returns 0; or returns a negative errno. */
int relay_run(Relay *r);

/* For how long there has been no connection; 0 if there is one. Accepts those that wait. */
uint64_t relay_get_idle_usec(Relay *r);

/* Accepts the connections that a channel still holds, and none after that. */
void relay_finish(Relay *r);
