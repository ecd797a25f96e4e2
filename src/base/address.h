/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* IP addresses with port and scope, and their text form. */

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

/* The size that address_format() needs: a literal, '%', an interface name, and the terminator. */
#define ADDRESS_STRING_MAX (INET6_ADDRSTRLEN + 1 + IF_NAMESIZE)

/* Parses an IP literal. A link-local IPv6 address may have a scope, a name or number (RFC 4007, section 11).
 * An IPv4-mapped IPv6 address becomes the IPv4 address. The port is set to 0. Returns -EINVAL for any other
 * text, -ENODEV if this host has no interface of that scope. */
int address_parse(const char *s, Address *ret);

/* The unspecified address of AF_INET or AF_INET6. */
Address address_any(int family);

/* An address from the kernel, of AF_INET or AF_INET6. An IPv4-mapped IPv6 address becomes the IPv4 address.
 */
Address address_from_kernel(const struct sockaddr_storage *storage);

uint16_t address_get_port(const Address *a);
void address_set_port(Address *a, uint16_t port);

/* With the ports. As in the kernel, only link-local addresses have scopes. */
bool address_equals(const Address *a, const Address *b);
/* Without the ports. */
bool address_is_same_host(const Address *a, const Address *b);

bool address_is_any(const Address *a);
bool address_is_link_local(const Address *a);

/* Formats the address as inet_ntop() does, a link-local one with its scope. Returns the buffer. */
const char *address_format(const Address *a, char buffer[static ADDRESS_STRING_MAX]);

/* The same with the name of the scope's interface, which may have another name by now, or be gone. */
const char *address_format_on(const Address *a,
                              const char *interface,
                              char buffer[static ADDRESS_STRING_MAX]);
