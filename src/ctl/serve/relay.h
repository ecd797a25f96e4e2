/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The loop of "relay": epoll itself, for all connections, with the event loop of the bus and of signals
 * inside it. */

#include <systemd/sd-event.h>

#include "ctl/serve/bridge.h"
#include "ctl/service/connection-source.h"

typedef struct Relay Relay;

typedef struct RelayParameters {
        sd_event *event;                                      /* whose end is the loop's */
        ConnectionSource connections;                         /* consumed */
        Target target;                                        /* the same */
        unsigned max_connections, max_connections_per_source; /* 0: no limit */
        void (*source_ended)(void *userdata);                 /* no more connections will come */
        void *userdata;
} RelayParameters;

/* Consumes what is said to be consumed, even when it fails. */
int relay_new(const RelayParameters *parameters, Relay **ret);
/* Connections that are not at their end are reset. */
Relay *relay_free(Relay *r);

/* Until somebody calls sd_event_exit(), whose code it returns, or a negative errno; or, after relay_finish(),
 * until the last connection has ended. */
int relay_run(Relay *r);

/* Takes what a channel still holds, and nothing after that. */
void relay_finish(Relay *r);
