/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Address prefixes, as in 192.0.2.0/24, and whether an address is in one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Address Address;

typedef struct Prefix {
        int family;
        uint8_t bits;
        uint8_t bytes[16];
} Prefix;

/* Reads an IP address with or without a prefix length. Bits beyond the length are read as 0, and a prefix of
 * IPv4-mapped IPv6 addresses becomes the IPv4 prefix. Returns -EINVAL if the text is no prefix. */
int prefix_parse(const char *s, Prefix *ret);

/* Size of the longest encoded prefix: a byte for family and length, and the address. */
#define PREFIX_BYTES_MAX 17

/* Encodes the prefix in as few bytes as possible. Returns how many. */
size_t prefix_write(const Prefix *prefix, uint8_t bytes[static PREFIX_BYTES_MAX]);

/* Decodes a prefix at the beginning of untrusted bytes. Returns how many bytes it has, or -EINVAL. */
ssize_t prefix_read(const uint8_t *bytes, size_t size, Prefix *ret);

bool prefix_contains(const Prefix *prefix, const Address *address);

/* True if one of the prefixes contains the address. */
bool prefix_any_contains(const Prefix *prefixes, size_t n, const Address *address);
