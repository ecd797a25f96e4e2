/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <assert.h>

#include "base/address.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/policy/prefix.h"

/* The first byte of an encoded prefix is its length, plus this for IPv6. */
#define KIND_IPV6 64

/* The name of an interface and another encoded prefix follow. */
#define KIND_SCOPE 255

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

static bool interface_name_is_valid(const char *name) {
        size_t length = strlen(name);

        return length > 0 && length < IF_NAMESIZE && !strpbrk(name, "/:% ") && text_is_printable(name);
}

/* Link-local prefixes are at least as long as fe80::/10. */
static bool prefix_is_link_local(const Prefix *p) {
        return p->family == AF_INET6 && p->bits >= 10 && p->bytes[0] == 0xfe && (p->bytes[1] & 0xc0) == 0x80;
}

static int parse_scope(const char *scope, Prefix *p) {
        char name[IF_NAMESIZE];
        uint32_t index;

        if (!prefix_is_link_local(p))
                return -EINVAL;

        if (parse_uint32(scope, 1, INT32_MAX, &index) == 0) {
                if (!if_indextoname(index, name))
                        return -EINVAL;
                scope = name;
        }
        if (!interface_name_is_valid(scope))
                return -EINVAL;

        (void) stpcpy(p->interface, scope);
        return 0;
}

int prefix_parse(const char *s, Prefix *ret) {
        char literal[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE], *scope;
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
        scope = strchr(literal, '%');
        if (scope)
                *scope++ = '\0';

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
        if (scope && parse_scope(scope, &p) < 0)
                return -EINVAL;

        *ret = p;
        return 0;
}

bool prefix_contains(const Prefix *prefix, const Address *address, const char *interface) {
        const uint8_t *bytes;
        unsigned whole, rest;

        if (prefix->family != address->sa.sa_family)
                return false;
        if (*prefix->interface && (!interface || !streq(prefix->interface, interface)))
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

bool prefix_any_contains(const Prefix *prefixes, size_t n, const Address *address, const char *interface) {
        for (size_t i = 0; i < n; i++)
                if (prefix_contains(prefixes + i, address, interface))
                        return true;

        return false;
}

size_t prefix_write(const Prefix *prefix, uint8_t bytes[static PREFIX_BYTES_MAX]) {
        size_t n = prefix_count_bytes(prefix), head = 0;

        if (*prefix->interface) {
                bytes[head++] = KIND_SCOPE;
                memcpy(bytes + head, prefix->interface, IF_NAMESIZE);
                head += IF_NAMESIZE;
        }

        bytes[head++] = (uint8_t) (prefix->bits + (prefix->family == AF_INET6 ? KIND_IPV6 : 0));
        memcpy(bytes + head, prefix->bytes, n);
        return head + n;
}

ssize_t prefix_read(const uint8_t *bytes, size_t size, Prefix *ret) {
        size_t n, head = 0;
        Prefix p = {};

        if (size > IF_NAMESIZE && bytes[0] == KIND_SCOPE) {
                memcpy(p.interface, bytes + 1, IF_NAMESIZE);
                head = 1 + IF_NAMESIZE;
                if (p.interface[IF_NAMESIZE - 1] != '\0' || !interface_name_is_valid(p.interface))
                        return -EINVAL;
        }
        if (size == head)
                return -EINVAL;

        p.family = bytes[head] < KIND_IPV6 ? AF_INET : AF_INET6;
        p.bits = (uint8_t) (bytes[head] - (p.family == AF_INET6 ? KIND_IPV6 : 0));
        head++;
        n = prefix_count_bytes(&p);
        if (p.bits > (p.family == AF_INET ? 32 : 128) || n > size - head)
                return -EINVAL;

        memcpy(p.bytes, bytes + head, n);
        prefix_normalise(&p);
        if (*p.interface && !prefix_is_link_local(&p))
                return -EINVAL;

        *ret = p;
        return (ssize_t) (head + n);
}
