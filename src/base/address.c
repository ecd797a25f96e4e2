/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>

#include "base/address.h"
#include "base/macros.h"

static Address address_from_in(struct in_addr in) {
        return (Address) {
                .in = { .sin_family = AF_INET, .sin_addr = in },
                .size = sizeof(struct sockaddr_in),
        };
}

static Address address_from_in6(const struct in6_addr *in6, uint32_t scope) {
        struct in_addr in;

        if (IN6_IS_ADDR_V4MAPPED(in6)) {
                memcpy(&in, in6->s6_addr + 12, sizeof(in));
                return address_from_in(in);
        }

        return (Address) {
                .in6 = { .sin6_family = AF_INET6, .sin6_addr = *in6, .sin6_scope_id = scope },
                .size = sizeof(struct sockaddr_in6),
        };
}

static int scope_parse(const char *s, uint32_t *ret) {
        unsigned long number;
        char name[IF_NAMESIZE];
        char *end;
        unsigned index;

        /* SIOCGIFINDEX ignores what follows a colon, which was once the name of an alias. */
        if (*s == '\0' || strchr(s, ':'))
                return -EINVAL;

        index = if_nametoindex(s);
        if (index == 0 && *s >= '1' && *s <= '9') {
                errno = 0;
                number = strtoul(s, &end, 10);
                if (errno == 0 && *end == '\0' && number <= INT32_MAX &&
                    if_indextoname((unsigned) number, name))
                        index = (unsigned) number;
        }
        if (index == 0)
                return -ENODEV;

        *ret = index;
        return 0;
}

int address_parse(const char *s, Address *ret) {
        char literal[INET6_ADDRSTRLEN];
        struct in6_addr in6;
        struct in_addr in;
        uint32_t scope = 0;
        const char *percent;
        size_t length;
        int r;

        percent = strchr(s, '%');
        length = percent ? (size_t) (percent - s) : strlen(s);
        if (length >= sizeof(literal))
                return -EINVAL;
        memcpy(literal, s, length);
        literal[length] = '\0';

        if (!percent && inet_pton(AF_INET, literal, &in) == 1) {
                *ret = address_from_in(in);
                return 0;
        }

        if (inet_pton(AF_INET6, literal, &in6) != 1)
                return -EINVAL;

        if (percent) {
                if (!IN6_IS_ADDR_LINKLOCAL(&in6))
                        return -EINVAL;
                r = scope_parse(percent + 1, &scope);
                if (r < 0)
                        return r;
        }

        *ret = address_from_in6(&in6, scope);
        return 0;
}

Address address_any(int family) {
        assert(family == AF_INET || family == AF_INET6);

        if (family == AF_INET)
                return address_from_in((struct in_addr) { .s_addr = htonl(INADDR_ANY) });

        return address_from_in6(&in6addr_any, 0);
}

Address address_from_kernel(const struct sockaddr_storage *storage) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) storage;
        const struct sockaddr_in *in = (const struct sockaddr_in *) storage;
        Address a;

        if (storage->ss_family == AF_INET) {
                a = address_from_in(in->sin_addr);
                a.in.sin_port = in->sin_port;
        } else {
                a = address_from_in6(&in6->sin6_addr, in6->sin6_scope_id);
                address_set_port(&a, ntohs(in6->sin6_port));
        }

        return a;
}

uint16_t address_get_port(const Address *a) {
        return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

void address_set_port(Address *a, uint16_t port) {
        if (a->sa.sa_family == AF_INET)
                a->in.sin_port = htons(port);
        else
                a->in6.sin6_port = htons(port);
}

bool address_equals(const Address *a, const Address *b) {
        return address_is_same_host(a, b) && address_get_port(a) == address_get_port(b);
}

bool address_is_same_host(const Address *a, const Address *b) {
        if (a->sa.sa_family != b->sa.sa_family)
                return false;
        if (a->sa.sa_family == AF_INET)
                return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;

        return IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr) &&
               (!address_is_link_local(a) || a->in6.sin6_scope_id == b->in6.sin6_scope_id);
}

bool address_is_any(const Address *a) {
        if (a->sa.sa_family == AF_INET)
                return a->in.sin_addr.s_addr == htonl(INADDR_ANY);

        return IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

bool address_is_link_local(const Address *a) {
        return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr);
}

const char *address_format(const Address *a, char buffer[static ADDRESS_STRING_MAX]) {
        char name[IF_NAMESIZE] = "";

        if (address_is_link_local(a) && a->in6.sin6_scope_id != 0 &&
            !if_indextoname(a->in6.sin6_scope_id, name))
                (void) snprintf(name, sizeof(name), "%u", (unsigned) a->in6.sin6_scope_id);

        return address_format_on(a, name, buffer);
}

const char *address_format_on(const Address *a,
                              const char *interface,
                              char buffer[static ADDRESS_STRING_MAX]) {
        size_t length;

        if (a->sa.sa_family == AF_INET) {
                (void) inet_ntop(AF_INET, &a->in.sin_addr, buffer, ADDRESS_STRING_MAX);
                return buffer;
        }

        (void) inet_ntop(AF_INET6, &a->in6.sin6_addr, buffer, ADDRESS_STRING_MAX);

        if (address_is_link_local(a) && a->in6.sin6_scope_id != 0) {
                length = strlen(buffer);
                (void) snprintf(buffer + length, ADDRESS_STRING_MAX - length, "%%%s", interface);
        }

        return buffer;
}
