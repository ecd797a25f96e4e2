/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <assert.h>

#include "base/address.h"
#include "base/macros.h"
#include "base/parse.h"
#include "daemon/policy/prefix.h"

/* The first byte of an encoded prefix is its length, plus this for IPv6. */
#define KIND_IPV6 64

static size_t prefix_count_bytes(const Prefix *p) {
        return (p->bits + 7U) / 8;
}

/* Makes equal prefixes equal byte by byte. */
static void prefix_normalise(Prefix *p) {
        static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
        size_t n;

        if (p->family == AF_INET6 && p->bits >= 96 && memcmp(p->bytes, mapped, sizeof(mapped)) == 0) {
                p->family = AF_INET;
                memmove(p->bytes, p->bytes + 12, 4);
                memset(p->bytes + 4, 0, 12);
                p->bits -= 96;
        }

        n = prefix_count_bytes(p);
        memset(p->bytes + n, 0, sizeof(p->bytes) - n);
        if (p->bits % 8 > 0)
                p->bytes[n - 1] &= (uint8_t) (0xff << (8 - p->bits % 8));
}

int prefix_parse(const char *s, Prefix *ret) {
        char literal[INET6_ADDRSTRLEN];
        Prefix p = {};
        uint32_t bits;
        const char *slash;
        size_t length;

        slash = strchr(s, '/');
        length = slash ? (size_t) (slash - s) : strlen(s);
        if (length >= sizeof(literal))
                return -EINVAL;
        memcpy(literal, s, length);
        literal[length] = '\0';

        if (inet_pton(AF_INET, literal, p.bytes) == 1)
                p.family = AF_INET;
        else if (inet_pton(AF_INET6, literal, p.bytes) == 1)
                p.family = AF_INET6;
        else
                return -EINVAL;

        bits = p.family == AF_INET ? 32 : 128;
        if (slash) {
                bool leading_zero = slash[1] == '0' && slash[2] != '\0';

                if (leading_zero || parse_uint32(slash + 1, 0, bits, &bits) < 0)
                        return -EINVAL;
        }

        p.bits = (uint8_t) bits;
        prefix_normalise(&p);
        *ret = p;
        return 0;
}

bool prefix_contains(const Prefix *prefix, const Address *address) {
        const uint8_t *bytes;
        unsigned whole, rest;

        if (prefix->family != address->sa.sa_family)
                return false;

        bytes = prefix->family == AF_INET ? (const uint8_t *) &address->in.sin_addr
                                          : address->in6.sin6_addr.s6_addr;
        assert(prefix->bits <= (prefix->family == AF_INET ? 32 : 128));
        whole = prefix->bits / 8;
        rest = prefix->bits % 8;

        if (memcmp(prefix->bytes, bytes, whole) != 0)
                return false;

        return rest == 0 || ((prefix->bytes[whole] ^ bytes[whole]) >> (8 - rest)) == 0;
}

bool prefix_any_contains(const Prefix *prefixes, size_t n, const Address *address) {
        for (size_t i = 0; i < n; i++)
                if (prefix_contains(prefixes + i, address))
                        return true;

        return false;
}

size_t prefix_write(const Prefix *prefix, uint8_t bytes[static PREFIX_BYTES_MAX]) {
        size_t n = prefix_count_bytes(prefix);

        bytes[0] = (uint8_t) (prefix->bits + (prefix->family == AF_INET6 ? KIND_IPV6 : 0));
        memcpy(bytes + 1, prefix->bytes, n);
        return 1 + n;
}

ssize_t prefix_read(const uint8_t *bytes, size_t size, Prefix *ret) {
        Prefix p = {};
        size_t n;

        if (size == 0)
                return -EINVAL;

        p.family = bytes[0] < KIND_IPV6 ? AF_INET : AF_INET6;
        p.bits = (uint8_t) (bytes[0] - (p.family == AF_INET6 ? KIND_IPV6 : 0));
        n = prefix_count_bytes(&p);
        if (p.bits > (p.family == AF_INET ? 32 : 128) || n > size - 1)
                return -EINVAL;

        memcpy(p.bytes, bytes + 1, n);
        prefix_normalise(&p);
        *ret = p;
        return (ssize_t) (1 + n);
}
