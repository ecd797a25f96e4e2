/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The listeners that the tool itself holds while it serves, and what the bus says of them meanwhile. */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"
#include "ctl/service/connection-source.h"

typedef struct Lease Lease;

/* One of the listeners has ended without the tool's doing, or the bus is gone; why has been said. Called
 * once. */
typedef void (*LeaseLost)(void *userdata);

/* Each that returns an int says what went wrong when it is negative. */
int lease_new(Context *c, Lease **ret);
Lease *lease_free(Lease *lease);

/* Gets the port, for a program that takes the socket itself: the next of lease_get_sockets(). */
int lease_take_socket(Lease *lease, const Endpoint *endpoint);
/* Gets it in the way that suits a program that takes connections. These are non-blocking if this or the
 * option says so. */
int lease_take_connections(Lease *lease, const Endpoint *endpoint, bool non_blocking, ConnectionSource *ret);

/* What was got so far, in the order of the calls. */
size_t lease_get_n(const Lease *lease);
const int *lease_get_sockets(const Lease *lease);
/* What is really bound. */
uint16_t lease_get_port(const Lease *lease, size_t i);

/* Says where it listens. */
void lease_announce(Lease *lease);

int lease_watch(Lease *lease, sd_event *event, LeaseLost lost, void *userdata);

/* To be told when a ConnectionSource has come to its end: the service will say why, or it is gone itself. */
void lease_source_ended(Lease *lease);

/* Frees the ports; they are free when it returns. A persistent listener stays. */
void lease_close(Lease *lease);
