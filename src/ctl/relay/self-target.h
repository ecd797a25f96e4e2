/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A target that is the relay itself. Each connection would make the relay connect to itself, until its limit
 * of connections is reached.
 *
 * The same address and port in another network namespace belong to another program, and a listener of one
 * interface does not get connections from this host.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ctl/cli/target.h"

typedef struct Address Address;
typedef struct Connection Connection;

/* Removes the addresses where this listening socket accepts connections. Prints an error message and returns
 * -ELOOP if no other address is left. */
int self_target_remove(Target *t, int listener);

/* Whether a connection to this port can be from the relay itself: a TCP address of the target has this port.
 */
bool self_target_has_port(const Target *t, uint16_t port);
/* Whether this accepted connection has arrived at an address of the target. */
bool self_target_is(const Target *t, const Connection *connection);

/* Whether the address is one of this host. */
bool self_target_is_local(const Address *a);
