/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The target that "relay" forwards to. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

typedef struct TargetAddress {
        struct sockaddr_storage storage;
        socklen_t size;
} TargetAddress;

typedef struct Target {
        char *name; /* as it was written */
        TargetAddress *addresses;
        size_t n;
        size_t preferred; /* the address that was reached last */
        bool was_reached; /* an address was reached before */
} Target;

/* Parses one of these, and prints an error message when it returns a negative errno:
 *
 *     HOST:PORT, [ADDRESS]:PORT      the host is resolved here, once
 *     PORT                           on 127.0.0.1 and, if nothing answers there, on ::1
 *     /run/x, ./x, unix:PATH         a Unix socket
 *     @NAME, unix:@NAME              an abstract one
 *
 * A port is a number or a name of services(5). */
int target_parse(const char *s, Target *ret);
void target_done(Target *t);

/* Looks whether there is a Unix socket at the path of a target, and whether this user may connect to it. If
 * nothing is there, or without permission, prints a line and returns 0, because the server may start later.
 * Prints an error message when it returns a negative errno. */
int target_check(const Target *t);

/* Connects to the i-th address with a non-blocking socket (TCP_NODELAY, SO_OOBINLINE). *ret_connected is
 * false while connect() is in progress. Returns a negative errno on failure; -EAGAIN if the queue of a Unix
 * socket is full. */
int target_connect(const Target *t, size_t i, int *ret_fd, bool *ret_connected);
