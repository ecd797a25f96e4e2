/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Address prefixes, as in 192.0.2.0/24, and whether an address is in one. */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Address Address;

typedef struct Prefix {
        int family;
        uint8_t bits;
        uint8_t bytes[16];
        char interface[IF_NAMESIZE]; /* of link-local addresses; empty: any */
} Prefix;

/* Reads an IP address with or without a prefix length. Bits beyond the length are read as 0, and a prefix of
 * IPv4-mapped IPv6 addresses becomes the IPv4 prefix. A prefix of link-local addresses may have a scope, as
 * in fe80::1%eth0 or fe80::%eth0/64: the name of an interface, which need not exist, or the number of one
 * that does. Returns -EINVAL if the text is no prefix. */
int prefix_parse(const char *s, Prefix *ret);

/* Size of the longest encoded prefix: a byte that announces a scope, its name, a byte for family and length,
 * and the address. */
#define PREFIX_BYTES_MAX (1 + IF_NAMESIZE + 17)

/* Encodes the prefix in as few bytes as possible. Returns how many. */
size_t prefix_write(const Prefix *prefix, uint8_t bytes[static PREFIX_BYTES_MAX]);

/* Decodes a prefix at the beginning of untrusted bytes. Returns how many bytes it has, or -EINVAL. */
ssize_t prefix_read(const uint8_t *bytes, size_t size, Prefix *ret);

/* interface: that of the scope of a link-local address, or NULL. */
bool prefix_contains(const Prefix *prefix, const Address *address, const char *interface);

/* True if one of the prefixes contains the address. */
bool prefix_any_contains(const Prefix *prefixes, size_t n, const Address *address, const char *interface);
