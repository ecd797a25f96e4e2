/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listening sockets, and what accept() has to say. */

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"

typedef struct SocketSettings {
        Address address;        /* port included, 0: the kernel chooses one */
        bool fall_back_to_ipv4; /* the address is :: and nobody asked for it: 0.0.0.0 will do where there is
                                   no IPv6 */
        bool ipv6_only;
        const char *interface; /* NULL: any */
        int backlog;           /* -1: as much as the kernel allows */
        bool no_delay;         /* the last four are inherited by what is accepted, or work before accept() */
        bool keep_alive;
        uint32_t defer_accept; /* seconds, 0: off */
        uint32_t fast_open;    /* queue length, 0: off */
} SocketSettings;

/* Opens a socket that listens. Returns a descriptor that is non-blocking and close-on-exec, or a negative
 * errno; among others -EADDRINUSE, -EADDRNOTAVAIL, -ENODEV (no such interface), -EACCES (privileged port). */
int socket_listen(const SocketSettings *settings);

/* The address a socket is bound to, port and all. */
int socket_get_local_address(int fd, Address *ret);

/* Where an accepted connection arrived: what the socket that listens is bound to, unless that is any address.
 */
int socket_get_arrival_address(int fd, const Address *bound, Address *ret);

/* The backlog in force, after the kernel has lowered what was asked for. */
int socket_get_backlog(int fd, uint32_t *ret);

/* Whether a connection waits, or something can be read. */
bool socket_has_input(int fd);

/* Whether the other end, of a socket that has one, is closed. */
bool socket_has_hung_up(int fd);

/* The first port that needs no privilege to bind, net.ipv4.ip_unprivileged_port_start. It counts for IPv6
 * too. */
int socket_get_unprivileged_port_start(uint32_t *ret);

typedef enum AcceptError {
        ACCEPT_AGAIN,     /* nothing is waiting */
        ACCEPT_SKIP,      /* this one connection failed; the next may be fine */
        ACCEPT_EXHAUSTED, /* out of descriptors or memory, or forbidden; later it may work */
        ACCEPT_BROKEN,    /* the listening socket itself is of no use any more */
} AcceptError;

/* What a positive errno of accept() means for the socket that listens. */
AcceptError socket_classify_accept_error(int error);
