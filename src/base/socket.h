/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listening sockets, and the errors of accept(). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"

typedef struct SocketSettings {
        Address address;        /* port included, 0: the kernel chooses one */
        bool fall_back_to_ipv4; /* listen on 0.0.0.0 if the host has no IPv6: :: is only the default */
        bool ipv6_only;
        bool free_bind;     /* also an address that the host does not have, or not yet */
        unsigned interface; /* its index; 0: any */
        int backlog;        /* -1: the kernel's maximum */
        bool no_delay;      /* accepted connections inherit this and keep_alive */
        bool keep_alive;
        uint32_t defer_accept; /* seconds, 0: off */
        uint32_t fast_open;    /* queue length, 0: off */
} SocketSettings;

/* Opens a listening socket, non-blocking and close-on-exec. Returns the descriptor or a negative errno, such
 * as -EADDRINUSE, -EADDRNOTAVAIL, -ENODEV (no such interface), -EACCES (privileged port). */
int socket_listen(const SocketSettings *settings);

/* Changes the options of a listening socket that the kernel lets change: no_delay, keep_alive, defer_accept
 * and fast_open. */
int socket_change(int fd, const SocketSettings *settings);

/* Whether an IPv6 socket accepts no IPv4 connections. */
bool socket_is_ipv6_only(int fd);

/* Whether this host has IPv6, so that a socket can be bound to "::". */
bool socket_has_ipv6(void);

/* Makes the user the owner of a socket, which the process that creates it is otherwise. Packet filters,
 * routing rules and SO_REUSEPORT compare the uid of the owner. For another user, the process needs CAP_CHOWN.
 */
int socket_set_owner(int fd, uid_t uid);

/* The address and port that a socket is bound to. */
int socket_get_local_address(int fd, Address *ret);

/* The local address of an accepted connection: the bound address of its listening socket, without a system
 * call unless that is the unspecified address. */
int socket_get_arrival_address(int fd, const Address *bound, Address *ret);

/* The name of the network interface with this index; any socket will do. Returns -ENODEV if there is none. */
int socket_get_interface_name(int fd, unsigned index, char ret[static IF_NAMESIZE]);

typedef enum AddressState {
        ADDRESS_MISSING,
        ADDRESS_TENTATIVE, /* the kernel checks that no other host has it, which takes a second or more */
        ADDRESS_DUPLICATE, /* another host has it */
        ADDRESS_ASSIGNED,
} AddressState;

/* The state of an IPv6 address on this host; ADDRESS_MISSING if it cannot be read. */
AddressState socket_get_address_state(const Address *address);

/* Returns 1 if a TCP socket is in the network namespace of this process, 0 if not, or a negative errno if the
 * kernel does not tell. */
int socket_is_in_own_network(int fd);

/* The index of the interface that a socket is bound to; 0: none. */
int socket_get_interface(int fd, unsigned *ret);

/* The effective backlog: the kernel lowers the requested one to net.core.somaxconn. */
int socket_get_backlog(int fd, uint32_t *ret);

/* The number of connections in the queue of a listening socket. */
uint32_t socket_count_queued(int fd);

/* Whether accept() or a read would not block. */
bool socket_has_input(int fd);

/* Whether the other end of a socket pair or a pipe is closed. */
bool socket_has_hung_up(int fd);

/* The sysctl net.ipv4.ip_unprivileged_port_start, which also applies to IPv6. */
int socket_get_unprivileged_port_start(uint32_t *ret);

typedef enum AcceptError {
        ACCEPT_AGAIN,     /* the queue is empty */
        ACCEPT_SKIP,      /* this one connection failed; the next may be fine */
        ACCEPT_EXHAUSTED, /* out of descriptors or memory, or denied; a later attempt may succeed */
        ACCEPT_BROKEN,    /* the listening socket itself has failed */
} AcceptError;

/* Classifies a positive errno of accept(). */
AcceptError socket_classify_accept_error(int error);
