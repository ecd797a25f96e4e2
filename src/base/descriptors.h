/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The limit of file descriptors (RLIMIT_NOFILE), and a reserve below it.
 *
 * To deliver a connection takes more descriptors than to accept it. The last descriptors are therefore
 * reserved for deliveries and for the process itself, and no listener, lifeline or new connection uses them.
 * The kernel always allocates the lowest free number, hence the number of a new descriptor shows how many are
 * left.
 */

#include <stdbool.h>

/* Raises the soft limit to the hard limit. */
void descriptors_raise_limit(void);

/* Restores the soft limit that the process was started with. To be called in a child before exec(): select(2)
 * does not work with descriptors above 1023. */
void descriptors_restore_limit(void);

/* The soft limit, INT32_MAX if there is none. */
int descriptors_get_limit(unsigned *ret);

/* True if this negative errno means a shortage of descriptors, memory or buffers. */
bool errno_is_transient(int r);

/* True if this new descriptor belongs to the reserve. */
bool descriptor_is_in_reserve(int fd);
