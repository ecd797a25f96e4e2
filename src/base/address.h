/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* IP addresses, with port and scope, and how they are written. */

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct Address {
        union {
                struct sockaddr sa;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        };
        socklen_t size;
} Address;

/* Room for any address that address_format() writes: a literal, '%', an interface's name. */
#define ADDRESS_STRING_MAX (INET6_ADDRSTRLEN + 1 + IF_NAMESIZE)

/* Reads an IP literal; a link-local IPv6 address may carry a scope, by name or number (RFC 4007, section
 * 11). An IPv4 address mapped into IPv6 is the IPv4 address. The port is 0. Returns -EINVAL if it is no such
 * literal, -ENODEV if the scope names no interface of this host; *ret is untouched then. */
int address_parse(const char *s, Address *ret);

/* The unspecified address of a family: AF_INET or AF_INET6. */
Address address_any(int family);

/* The address as the kernel gave it, an IPv4 address that is mapped into IPv6 as the IPv4 address. */
Address address_from_kernel(const struct sockaddr_storage *storage);

uint16_t address_get_port(const Address *a);
void address_set_port(Address *a, uint16_t port);

bool address_is_any(const Address *a);
bool address_is_link_local(const Address *a);

/* Writes it as inet_ntop() does, a link-local one with its scope. Returns the buffer. */
const char *address_format(const Address *a, char buffer[static ADDRESS_STRING_MAX]);
