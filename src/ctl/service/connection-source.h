/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where connections come from: the listening socket itself, or a channel of the service. */

#include <stdbool.h>

typedef struct Address Address;

typedef struct ConnectionSource {
        int fd; /* to be polled for input; non-blocking */
        bool is_channel;
        bool non_blocking, is_verbatim;
} ConnectionSource;

/* Consumes fd. non_blocking: what is taken shall be. */
int connection_source_init(ConnectionSource *in, int fd, bool is_channel, bool non_blocking);
/* What is taken shall hold nothing up (TCP_NODELAY), and leave urgent bytes in their place (SO_OOBINLINE). */
int connection_source_set_verbatim(ConnectionSource *in);
void connection_source_done(ConnectionSource *in);

/* Takes the next connection, close-on-exec. Returns 1; 0 if there is none now; -ECONNRESET when there will be
 * none any more, as the listener has ended; or another negative errno. */
int connection_source_next(ConnectionSource *in, int *ret_fd, Address *ret_peer);

/* Whether it is worth trying again; and why not now, in words. */
bool connection_source_is_transient(int r);
const char *connection_source_explain(int r);
