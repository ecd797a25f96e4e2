/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The source of connections: the listening socket itself, or a channel from the service. */

#include <stdbool.h>

#include "base/address.h"

typedef struct Connection {
        int fd;
        Address remote;
        Address local; /* from a channel; else its size is 0: connection_get_local() */
} Connection;

typedef struct ConnectionSource {
        int fd; /* to be polled for input; non-blocking */
        bool is_channel;
        bool non_blocking; /* makes connections non-blocking */
        bool is_verbatim;  /* sets TCP_NODELAY and SO_OOBINLINE on connections */
} ConnectionSource;

/* Consumes fd. Returns 0 or a negative errno. */
int connection_source_init(ConnectionSource *in, int fd, bool is_channel, bool non_blocking);
/* From now on connections have TCP_NODELAY and SO_OOBINLINE. */
int connection_source_set_verbatim(ConnectionSource *in);
void connection_source_done(ConnectionSource *in);

/* Accepts or receives the next connection, close-on-exec. Returns 1; 0 if there is none now; -ECONNRESET if
 * the listener has ended; or another negative errno. */
int connection_source_next(ConnectionSource *in, Connection *ret);

/* The address that the peer has connected to. */
int connection_get_local(const Connection *connection, Address *ret);

/* From now on the last close() resets the connection. */
void connection_reset_at_close(int fd);

/* Whether this error of connection_source_next() may be over later, and its description for the user. */
bool connection_source_is_transient(int r);
const char *connection_source_explain(int r);
