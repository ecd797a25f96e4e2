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

/* Parses "HOST:PORT" or "[ADDRESS]:PORT", with the number or the name of a port, or the path of a Unix
 * socket:
 * "/run/x", "./x", or "@x" for an abstract one. Resolves a host name here, once. Prints an error message when
 * it returns a negative errno. */
int target_parse(const char *s, Target *ret);
void target_done(Target *t);

/* Connects to the i-th address with a non-blocking socket (TCP_NODELAY, SO_OOBINLINE). *ret_connected is
 * false while connect() is in progress. Returns a negative errno on failure; -EAGAIN if the queue of a Unix
 * socket is full. */
int target_connect(const Target *t, size_t i, int *ret_fd, bool *ret_connected);
