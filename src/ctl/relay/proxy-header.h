/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The header that tells a server the addresses of a connection which a relay forwards: the PROXY protocol of
 * HAProxy (proxy-protocol.txt), versions 1 and 2. */

#include <stddef.h>

#include "ctl/cli/context.h"

/* The longest one, of version 1: two IPv6 addresses and two ports of full length, and a NUL. */
#define PROXY_HEADER_MAX 108

typedef struct Address Address;

/* Returns the number of bytes. Without two addresses of the same family (size 0: unknown), the header tells
 * the server to use those of the connection from the relay. */
size_t proxy_header_write(ProxyProtocol protocol,
                          const Address *remote,
                          const Address *local,
                          char ret[static PROXY_HEADER_MAX]);
