/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/relay/self-target.h"

#include <assert.h>
#include <ifaddrs.h>

#include "base/address.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/socket.h"
#include "ctl/cli/message.h"
#include "ctl/service/connection-source.h"

/* Returns false for a Unix socket. */
static bool get_address(const Target *t, size_t i, Address *ret) {
        const struct sockaddr_storage *storage = &t->addresses[i].storage;

        if (storage->ss_family == AF_UNIX)
                return false;

        *ret = address_from_kernel(storage);
        /* connect(2) to the unspecified address reaches the loopback address. */
        if (address_is_any(ret) && ret->sa.sa_family == AF_INET)
                ret->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        else if (address_is_any(ret))
                ret->in6.sin6_addr = in6addr_loopback;
        return true;
}

bool self_target_is_local(const Address *a) {
        struct ifaddrs *list;
        bool found = false;

        if (a->sa.sa_family == AF_INET && ntohl(a->in.sin_addr.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET)
                return true;
        if (getifaddrs(&list) < 0)
                return false;

        for (const struct ifaddrs *item = list; item && !found; item = item->ifa_next)
                if (item->ifa_addr &&
                    (item->ifa_addr->sa_family == AF_INET || item->ifa_addr->sa_family == AF_INET6)) {
                        struct sockaddr_storage storage = {};
                        Address address;

                        memcpy(&storage, item->ifa_addr,
                               item->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                                    : sizeof(struct sockaddr_in6));
                        address = address_from_kernel(&storage);
                        found = address_is_same_host(&address, a);
                }
        freeifaddrs(list);
        return found;
}

/* An interface other than the loopback. */
static bool is_of_an_interface(int fd) {
        unsigned index;
        char name[IF_NAMESIZE];

        return socket_get_interface(fd, &index) == 0 && index != 0 &&
               socket_get_interface_name(fd, index, name) == 0 && !streq(name, "lo");
}

/* Whether a connection to the address arrives at this listener, which has the same port. */
static bool is_reached(int listener, const Address *bound, const Address *a) {
        if (!address_is_any(bound))
                return address_is_same_host(bound, a);
        if (bound->sa.sa_family != a->sa.sa_family &&
            (bound->sa.sa_family == AF_INET || socket_is_ipv6_only(listener)))
                return false;
        return self_target_is_local(a);
}

int self_target_remove(Target *t, int listener) {
        size_t n = 0;
        Address bound, a;

        if (socket_get_local_address(listener, &bound) < 0 || is_of_an_interface(listener) ||
            socket_is_in_own_network(listener) <= 0)
                return 0;

        for (size_t i = 0; i < t->n; i++)
                if (!get_address(t, i, &a) || address_get_port(&a) != address_get_port(&bound) ||
                    !is_reached(listener, &bound, &a))
                        t->addresses[n++] = t->addresses[i];
        t->n = n;
        if (n > 0)
                return 0;

        return message_error(
                        -ELOOP,
                        _("The target \"%s\" is the port that the relay itself listens on; write the port of the "
                          "server behind it."),
                        t->name);
}

bool self_target_has_port(const Target *t, uint16_t port) {
        Address a;

        for (size_t i = 0; i < t->n; i++)
                if (get_address(t, i, &a) && address_get_port(&a) == port)
                        return true;
        return false;
}

bool self_target_is(const Target *t, const Connection *connection) {
        Address local, a;

        if (connection_get_local(connection, &local) < 0)
                return false;

        for (size_t i = 0; i < t->n; i++)
                if (get_address(t, i, &a) && address_get_port(&a) == address_get_port(&local) &&
                    address_is_same_host(&a, &local))
                        return socket_is_in_own_network(connection->fd) > 0 &&
                               !is_of_an_interface(connection->fd);
        return false;
}
