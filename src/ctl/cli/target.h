/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where "relay" forwards to. */

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
        size_t preferred; /* the one that was reached last */
        bool was_reached; /* there is such a one */
} Target;

/* "HOST:PORT", "[ADDRESS]:PORT", with a number or the name of a service, or the path of a Unix socket:
 * "/run/x", "./x", or "@x" for an abstract one. A host's name is looked up here and never again. Says what is
 * wrong when it returns a negative errno. */
int target_parse(const char *s, Target *ret);
void target_done(Target *t);

/* A non-blocking socket, without delay and with urgent bytes in their place, whose connect() is under way
 * (*ret_connected false) or done. Returns a negative errno when this address failed at once; -EAGAIN: the
 * queue of a Unix socket is full. */
int target_connect(const Target *t, size_t i, int *ret_fd, bool *ret_connected);
