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

/* Digits, a hyphen, and digits; names of services(5) have a letter. */
static bool is_range(const char *s) {
        static const char digits[] = "0123456789";
        size_t first = strspn(s, digits), last;

        if (first == 0 || s[first] != '-')
                return false;
        last = strspn(s + first + 1, digits);
        return last > 0 && s[first + 1 + last] == '\0';
}

static int parse_ports(const char *whole, const char *s, uint16_t *ret_first, uint16_t *ret_last) {
        PortRange range;
        int r;

        if (!is_range(s)) {
                r = port_parse(whole, s, ret_first);
                if (r >= 0)
                        *ret_last = *ret_first;
                return r;
        }

        if (parse_port_range(s, &range) < 0)
                return message_error(-EINVAL,
                                     _("\"%s\" is not a range of ports; write the lower port first, and "
                                       "ports from 1 to 65535."),
                                     whole);
        *ret_first = range.first;
        *ret_last = range.last;
        return 0;
}

/* Splits "ADDRESS:PORT". Returns the port; *ret_length is 0 if there is no address. */
static const char *split(const char *s, const char **ret_address, size_t *ret_length) {
        const char *colon = strrchr(s, ':');

        *ret_address = s;
        *ret_length = 0;
        if (!colon)
                return s;

        *ret_length = (size_t) (colon - s);
        if (*s == '[' && colon > s && colon[-1] == ']') {
                (*ret_address)++;
                *ret_length -= 2;
        } else if (strchr(s, ':') != colon) {
                (void) message_error(-EINVAL,
                                     _("\"%s\" is ambiguous; write an IPv6 address as [ADDRESS]:PORT."), s);
                return NULL;
        } else if (*ret_length == 1 && *s == '*')
                *ret_length = 0;

        return colon + 1;
}

/* The endpoint has the first port of a range. */
static int parse(const char *s, Endpoint *ret, uint16_t *ret_last) {
        _cleanup_free_ char *address = NULL;
        const char *start, *ports;
        uint16_t port = 0, last = 0;
        Address parsed;
        size_t length;
        int r;

        ports = split(s, &start, &length);
        if (!ports)
                return -EINVAL;
        if (length == 0 && start != s)
                return message_error(-EINVAL, _("There is no address before the port in \"%s\"."), s);
        r = parse_ports(s, ports, &port, &last);
        if (r < 0)
                return r;

        if (length > 0) {
                address = strndup(start, length);
                if (!address)
                        return message_oom();
                /* The service checks whether the host has the address and its interface. */
                if (address_parse(address, &parsed) == -EINVAL)
                        return message_error(-EINVAL,
                                             _("\"%s\" is not an IP address; write it in numbers, as in "
                                               "\"127.0.0.1:80\"."),
                                             address);
        }

        *ret = (Endpoint) { .address = TAKE_PTR(address), .all = length == 0 && ports != s, .port = port };
        *ret_last = last;
        return 0;
}

int endpoint_parse(const char *s, Endpoint *ret) {
        _cleanup_(endpoint_done) Endpoint e = {};
        uint16_t last;
        int r;

        r = parse(s, &e, &last);
        if (r < 0)
                return r;
        if (last != e.port)
                return message_error(-EINVAL,
                                     _("\"%s\" is a range of ports; only one port is possible here."), s);

        *ret = TAKE(e, (Endpoint) {});
        return 0;
}

void endpoint_done(Endpoint *e) {
        free(TAKE_PTR(e->address));
        free(TAKE_PTR(e->interface));
}

static int add_ports(Endpoints *all, const Endpoint *e, uint16_t last) {
        size_t n = (size_t) (last - e->port) + 1;
        Endpoint *items;

        items = realloc(all->items, (all->n + n) * sizeof(*items));
        if (!items)
                return message_oom();
        all->items = items;

        for (size_t i = 0; i < n; i++) {
                items[all->n] = (Endpoint) { .all = e->all, .port = (uint16_t) (e->port + i) };
                if (e->address && !(items[all->n].address = strdup(e->address)))
                        return message_oom();
                all->n++;
        }
        return 0;
}

/* Returns AF_UNSPEC if there is no address, or if this host does not know its interface. */
static int get_family(const Endpoint *e, bool *ret_any) {
        Address address;

        *ret_any = false;
        if (!e->address || address_parse(e->address, &address) < 0)
                return AF_UNSPEC;

        *ret_any = address_is_any(&address);
        return address.sa.sa_family;
}

static void separate_families(Endpoints *all) {
        bool has_ipv4[UINT16_MAX + 1] = {}, any;

        for (size_t i = 0; i < all->n; i++)
                if (get_family(all->items + i, &any) == AF_INET)
                        has_ipv4[all->items[i].port] = true;

        for (size_t i = 0; i < all->n; i++)
                if (has_ipv4[all->items[i].port] && get_family(all->items + i, &any) == AF_INET6 && any)
                        all->items[i].ipv6_only = true;
}

int endpoints_parse(char *const *arguments, size_t n, bool splits, Endpoints *ret) {
        _cleanup_(endpoints_done) Endpoints all = {};

        for (size_t i = 0; i < n; i++) {
                _cleanup_(endpoint_done) Endpoint e = {};
                uint16_t last = 0;
                int r;

                r = parse(arguments[i], &e, &last);
                if (r >= 0)
                        r = add_ports(&all, &e, last);
                if (r < 0)
                        return r;
        }

        if (splits)
                separate_families(&all);
        *ret = TAKE(all, (Endpoints) {});
        return 0;
}

void endpoints_done(Endpoints *e) {
        for (size_t i = 0; i < e->n; i++)
                endpoint_done(e->items + i);
        free(TAKE_PTR(e->items));
        e->n = 0;
}
