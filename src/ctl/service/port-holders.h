/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Finds the processes that keep a port in use, as "ss -tanp" does. Those of other users are found only by
 * root. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"

#define PORT_HOLDERS_MAX 4

typedef struct PortHolders {
        pid_t pids[PORT_HOLDERS_MAX];
        size_t n;
        bool more; /* than the array has room for */
} PortHolders;

/* Whether the address, with its port, cannot be bound because another socket uses the port. The interface is
 * empty for all interfaces. */
bool port_is_in_use(const Address *address, const char *interface);

/* Finds listening sockets that conflict with the address and its port; if there are none, other sockets.
 * Finds nothing if the kernel cannot be asked. */
void port_find_holders(const Address *address, PortHolders *ret);
/* Finds the accepted connections at the address and its port. Returns a new array of the inodes of their
 * sockets, at most 4096, that ends with 0; NULL if memory runs out. */
uint32_t *port_find_connections(const Address *address);

/* Whether a descendant of this process has the socket, a copy of which is the descriptor. Returns 1, 0, or a
 * negative errno if that is unknown: the kernel does not show the descriptors of each of them. */
int port_is_held_by_descendant(int fd);

bool port_holders_contain(const PortHolders *holders, pid_t pid);

/* Returns a new string, "nginx (PID 812), nginx (PID 813)", or NULL if memory runs out. */
char *port_holders_format(const PortHolders *holders);
