/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where connections come from: the listening socket itself, or a channel of the service. */

#include <stdbool.h>

typedef struct Address Address;

typedef struct Intake {
        int fd; /* to be polled for input; non-blocking */
        bool is_channel;
        bool non_blocking, is_verbatim;
} Intake;

/* Consumes fd. non_blocking: what is taken shall be. */
int intake_init(Intake *in, int fd, bool is_channel, bool non_blocking);
/* What is taken shall hold nothing up (TCP_NODELAY), and leave urgent bytes in their place (SO_OOBINLINE). */
int intake_set_verbatim(Intake *in);
void intake_done(Intake *in);

/* Takes the next connection, close-on-exec. Returns 1; 0 if there is none now; -ECONNRESET when there will be
 * none any more, as the listener has ended; or another negative errno. */
int intake_next(Intake *in, int *ret_fd, Address *ret_peer);

/* Whether it is worth trying again; and why not now, in words. */
bool intake_is_transient(int r);
const char *intake_explain(int r);
