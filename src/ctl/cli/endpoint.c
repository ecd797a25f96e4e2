/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/cli/endpoint.h"

#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>

#include "base/address.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/message.h"

/* getaddrinfo() would read " 80" and "-1" as numbers. */
static bool may_be_name(const char *s) {
        bool has_letter = false;

        if (!isalnum((unsigned char) *s))
                return false;
        for (; *s; s++) {
                if (!isgraph((unsigned char) *s))
                        return false;
                has_letter = has_letter || isalpha((unsigned char) *s);
        }

        return has_letter;
}

static int find_service(const char *name, uint16_t *ret) {
        static const struct addrinfo hints = { .ai_flags = AI_PASSIVE,
                                               .ai_family = AF_INET,
                                               .ai_socktype = SOCK_STREAM };
        struct addrinfo *found;

        if (getaddrinfo(NULL, name, &hints, &found) != 0)
                return -ENOENT;

        *ret = ntohs(((const struct sockaddr_in *) (const void *) found->ai_addr)->sin_port);
        freeaddrinfo(found);
        return 0;
}

int port_find(const char *s, uint16_t *ret) {
        uint32_t number;

        if (parse_uint32(s, 0, UINT16_MAX, &number) == 0) {
                *ret = (uint16_t) number;
                return 0;
        }

        return may_be_name(s) ? find_service(s, ret) : -EINVAL;
}

int port_parse(const char *whole, const char *s, uint16_t *ret) {
        int r = port_find(s, ret);

        if (r == -EINVAL)
                return message_error(-EINVAL,
                                     _("\"%s\" is not a port; write a number from 0 to 65535, a name such as "
                                       "\"http\", or ADDRESS:PORT."),
                                     whole);
        if (r < 0)
                return message_error(-EINVAL,
                                     _("Unknown TCP service \"%s\"; services(5) lists the names, or write "
                                       "the number of the port."),
                                     s);
        return 0;
}

int endpoint_parse(const char *s, Endpoint *ret) {
        _cleanup_free_ char *address = NULL;
        const char *colon, *start = s, *end = NULL;
        Address parsed;
        uint16_t port;
        int r;

        colon = strrchr(s, ':');
        if (colon) {
                end = colon;
                if (*s == '[' && colon > s && colon[-1] == ']') {
                        start = s + 1;
                        end = colon - 1;
                } else if (strchr(s, ':') != colon)
                        return message_error(
                                        -EINVAL,
                                        _("\"%s\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT."),
                                        s);
        }

        if (colon && end <= start)
                return message_error(-EINVAL, _("There is no address before the port in \"%s\"."), s);
        r = port_parse(s, colon ? colon + 1 : s, &port);
        if (r < 0)
                return r;

        if (colon) {
                address = strndup(start, (size_t) (end - start));
                if (!address)
                        return message_oom();
                /* The service checks whether the host has the address and its interface. */
                if (address_parse(address, &parsed) == -EINVAL)
                        return message_error(-EINVAL,
                                             _("\"%s\" is not an IP address; write it in numbers, as in "
                                               "\"127.0.0.1:80\"."),
                                             address);
        }

        *ret = (Endpoint) { .address = TAKE_PTR(address), .port = port };
        return 0;
}

void endpoint_done(Endpoint *e) {
        free(TAKE_PTR(e->address));
        free(TAKE_PTR(e->interface));
}
