/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A reserve of file descriptors.
 *
 * When the process has none left, a message of the bus that brings one cannot be received, and libsystemd
 * takes that for the end of the connection: with one call, anybody could end the service. So the last
 * descriptors are kept for the bus. The kernel hands out the lowest number that is free, hence a number tells
 * how many are left.
 */

#include <stdbool.h>

/* Whether this negative errno says that descriptors, memory or buffers are short, and that it may work later.
 */
bool errno_is_transient(int r);

/* Whether this descriptor, just obtained, is one of the reserve. */
bool descriptor_is_in_reserve(int fd);
