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

/* Reads an IP literal with or without a length; without one it is the whole address. Bits beyond the length
 * are ignored and read as 0, a prefix of IPv4 addresses mapped into IPv6 is the IPv4 prefix. Returns -EINVAL
 * if it is none; *ret is untouched then. */
int prefix_parse(const char *s, Prefix *ret);

/* Room for what prefix_write() writes: what it is and how long, and the bytes that count. */
#define PREFIX_BYTES_MAX 17

/* Writes it in as few bytes as it needs. Returns how many. */
size_t prefix_write(const Prefix *prefix, uint8_t bytes[static PREFIX_BYTES_MAX]);

/* Reads what is at the beginning of these bytes, which may be anything. Returns how many it has, or -EINVAL
 * if it is none; *ret is untouched then. */
ssize_t prefix_read(const uint8_t *bytes, size_t size, Prefix *ret);

bool prefix_contains(const Prefix *prefix, const Address *address);

/* True if one of the prefixes contains the address. */
bool prefix_any_contains(const Prefix *prefixes, size_t n, const Address *address);
