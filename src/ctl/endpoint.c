/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/endpoint.h"
#include "ctl/message.h"

static int parse_port(const char *s, uint16_t *ret) {
        unsigned long port;
        char *end;

        /* strtoul() would take a sign, and white space. */
        if (*s < '0' || *s > '9')
                return -EINVAL;

        errno = 0;
        port = strtoul(s, &end, 10);
        if (errno != 0 || *end != '\0' || port > UINT16_MAX)
                return -EINVAL;

        *ret = (uint16_t) port;
        return 0;
}

int endpoint_parse(const char *s, Endpoint *ret) {
        _cleanup_free_ char *address = NULL;
        const char *colon, *start = s, *end = NULL;
        uint16_t port;

        colon = strrchr(s, ':');
        if (colon) {
                end = colon;
                if (*s == '[' && colon > s && colon[-1] == ']') {
                        start = s + 1;
                        end = colon - 1;
                } else if (strchr(s, ':') != colon)
                        return message_error(
                                        -EINVAL,
                                        _("\"%s\" is not clear; write an IPv6 address as [ADDRESS]:PORT."),
                                        s);
        }

        if ((colon && end <= start) || parse_port(colon ? colon + 1 : s, &port) < 0)
                return message_error(
                                -EINVAL,
                                _("\"%s\" is not a port; write a number from 0 to 65535, or ADDRESS:PORT."),
                                s);

        if (colon) {
                address = strndup(start, (size_t) (end - start));
                if (!address)
                        return message_oom();
        }

        *ret = (Endpoint) { .address = TAKE_PTR(address), .port = port };
        return 0;
}

void endpoint_done(Endpoint *e) {
        free(TAKE_PTR(e->address));
}
