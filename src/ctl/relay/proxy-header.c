/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/relay/proxy-header.h"

#include <assert.h>
#include <stdio.h>

#include "base/address.h"
#include "base/macros.h"

/* Of version 2. */
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define COMMAND_LOCAL 0x20
#define COMMAND_PROXY 0x21
#define TCP_OVER_IPV4 0x11
#define TCP_OVER_IPV6 0x21

/* Without the scope, which only this host knows. */
static const char *format(const Address *a, char buffer[static ADDRESS_STRING_MAX]) {
        Address plain = *a;

        if (a->sa.sa_family == AF_INET6)
                plain.in6.sin6_scope_id = 0;
        return address_format(&plain, buffer);
}

static size_t write_1(bool known,
                      const Address *remote,
                      const Address *local,
                      char ret[static PROXY_HEADER_MAX]) {
        char from[ADDRESS_STRING_MAX], to[ADDRESS_STRING_MAX];
        int n;

        if (known)
                n = snprintf(ret, PROXY_HEADER_MAX, "PROXY TCP%c %s %s %u %u\r\n",
                             remote->sa.sa_family == AF_INET ? '4' : '6', format(remote, from),
                             format(local, to), address_get_port(remote), address_get_port(local));
        else
                n = snprintf(ret, PROXY_HEADER_MAX, "PROXY UNKNOWN\r\n");

        assert(n > 0 && n < PROXY_HEADER_MAX);
        return (size_t) n;
}

static void append(char *buffer, size_t *n, const void *bytes, size_t size) {
        memcpy(buffer + *n, bytes, size);
        *n += size;
}

static size_t write_2(bool known,
                      const Address *remote,
                      const Address *local,
                      char ret[static PROXY_HEADER_MAX]) {
        bool ipv4 = known && remote->sa.sa_family == AF_INET;
        const unsigned char fields[] = {
                known ? COMMAND_PROXY : COMMAND_LOCAL,
                !known ? 0
                : ipv4 ? TCP_OVER_IPV4
                       : TCP_OVER_IPV6,
                /* The length of the rest. */
                0,
                !known ? 0
                : ipv4 ? 12
                       : 36,
        };
        size_t n = 0;

        append(ret, &n, SIGNATURE, sizeof(SIGNATURE) - 1);
        append(ret, &n, fields, sizeof(fields));
        if (ipv4) {
                append(ret, &n, &remote->in.sin_addr, sizeof(remote->in.sin_addr));
                append(ret, &n, &local->in.sin_addr, sizeof(local->in.sin_addr));
                append(ret, &n, &remote->in.sin_port, sizeof(remote->in.sin_port));
                append(ret, &n, &local->in.sin_port, sizeof(local->in.sin_port));
        } else if (known) {
                append(ret, &n, &remote->in6.sin6_addr, sizeof(remote->in6.sin6_addr));
                append(ret, &n, &local->in6.sin6_addr, sizeof(local->in6.sin6_addr));
                append(ret, &n, &remote->in6.sin6_port, sizeof(remote->in6.sin6_port));
                append(ret, &n, &local->in6.sin6_port, sizeof(local->in6.sin6_port));
        }
        return n;
}

size_t proxy_header_write(ProxyProtocol protocol,
                          const Address *remote,
                          const Address *local,
                          char ret[static PROXY_HEADER_MAX]) {
        bool known = remote->size > 0 && local->size > 0 && remote->sa.sa_family == local->sa.sa_family;

        assert(protocol != PROXY_PROTOCOL_OFF);

        return (protocol == PROXY_PROTOCOL_V1 ? write_1 : write_2)(known, remote, local, ret);
}
