/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/cli/port.h"

#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/message.h"

/* What cannot be the name of a service is not looked for: getaddrinfo() would take " 80" and "-1" for
 * numbers. */
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

int port_parse(const char *whole, const char *s, uint16_t *ret) {
        uint32_t number;

        if (parse_uint32(s, 0, UINT16_MAX, &number) == 0) {
                *ret = (uint16_t) number;
                return 0;
        }
        if (!may_be_name(s))
                return message_error(-EINVAL,
                                     _("\"%s\" is not a port; write a number from 0 to 65535, a name such as "
                                       "\"http\", or ADDRESS:PORT."),
                                     whole);
        if (find_service(s, ret) < 0)
                return message_error(
                                -EINVAL,
                                _("There is no TCP service \"%s\"; services(5) has their names, or write "
                                  "the number of the port."),
                                s);
        return 0;
}
