/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/address.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/endpoint.h"
#include "ctl/cli/message.h"
#include "ctl/cli/port.h"

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
                                        _("\"%s\" is not clear; write an IPv6 address as [ADDRESS]:PORT."),
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
                /* Whether the host has it, and its interface, is for the service to say. */
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
}
