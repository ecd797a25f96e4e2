/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The listeners of the tool itself, for as long as it serves. */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"
#include "ctl/service/connection-source.h"

typedef struct Lease Lease;

/* Called once, when one of the listeners has ended or the bus is gone; an error message says why. */
typedef void (*LeaseLost)(void *userdata);

/* The functions that return an int print an error message when it is negative. */
int lease_new(Context *c, Lease **ret);
Lease *lease_free(Lease *lease);

/* Gets the listening socket of a port, which becomes the next of lease_get_sockets(). */
int lease_take_socket(Lease *lease, const Endpoint *endpoint);
/* Gets a port as a source of connections, by the delivery that suits the options. The connections are
 * non-blocking if non_blocking or the option --non-blocking is set. */
int lease_take_connections(Lease *lease, const Endpoint *endpoint, bool non_blocking, ConnectionSource *ret);

/* The sockets so far, in the order of the calls; -EBADF for a source of connections. */
size_t lease_get_n(const Lease *lease);
const int *lease_get_sockets(const Lease *lease);
/* The port that is bound. */
uint16_t lease_get_port(const Lease *lease, size_t i);

/* Returns a new string such as "[::]:80, 127.0.0.1:8080", or NULL without memory. */
char *lease_format_addresses(const Lease *lease);

/* Watches the listeners from the loop, and prints their addresses. */
int lease_start(Lease *lease, sd_event *event, LeaseLost lost, void *userdata);

/* A listening socket that was requested while the loop runs. */
typedef struct LeaseRequest LeaseRequest;

/* Called once, with the descriptor of the socket, which belongs to the lease, or a negative errno as of
 * bind(2); an error message was printed then. Frees the request. */
typedef void (*LeaseTaken)(int fd, void *userdata);

/* Requests the listening socket of a port without waiting, after lease_start(). */
int lease_request_socket(Lease *lease,
                         const Endpoint *endpoint,
                         LeaseTaken taken,
                         void *userdata,
                         LeaseRequest **ret);
/* The handler is not called any more. */
LeaseRequest *lease_request_free(LeaseRequest *request);

/* Closes this socket and its listener, without waiting. */
void lease_drop_socket(Lease *lease, int fd);

/* To be called when a ConnectionSource has ended: waits for the service to tell the reason. */
void lease_source_ended(Lease *lease);

/* Closes the listeners, except persistent ones. Their ports are free when it returns. */
void lease_close(Lease *lease);
