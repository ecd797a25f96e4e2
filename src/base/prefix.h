/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Address prefixes, as in 192.0.2.0/24, and whether an address is in one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Address Address;

typedef struct Prefix {
        int family;
        uint8_t bits;
        uint8_t bytes[16];
} Prefix;

/* Reads an IP literal with or without a length; without one it is the whole address. Bits beyond the length
 * are ignored, a prefix of IPv4 addresses mapped into IPv6 is the IPv4 prefix. Returns -EINVAL if it is none;
 * *ret is untouched then. */
int prefix_parse(const char *s, Prefix *ret);

/* Room for what prefix_format() writes: a literal, and "/128". */
#define PREFIX_STRING_MAX (46 + 4)

/* Writes it as prefix_parse() reads it. Returns the buffer. */
const char *prefix_format(const Prefix *prefix, char buffer[static PREFIX_STRING_MAX]);

bool prefix_contains(const Prefix *prefix, const Address *address);

/* True if one of the prefixes contains the address. */
bool prefix_any_contains(const Prefix *prefixes, size_t n, const Address *address);
