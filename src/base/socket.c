/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/if_addr.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "base/macros.h"
#include "base/socket.h"

/* In the kernel's headers since Linux 5.14. */
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static int set_option(int fd, int level, int option, int value) {
        return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int apply_settings(int fd, const SocketSettings *s, int family) {
        int r;

        /* Allows binding while earlier connections are in TIME_WAIT. On Linux this does not allow two sockets
         * to listen on the same port. */
        r = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
        if (r < 0)
                return r;

        /* Always set, as the default depends on net.ipv6.bindv6only. */
        if (family == AF_INET6) {
                r = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, s->ipv6_only);
                if (r < 0)
                        return r;
        }

        if (s->free_bind) {
                r = family == AF_INET6 ? set_option(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
                                       : set_option(fd, IPPROTO_IP, IP_FREEBIND, 1);
                if (r < 0)
                        return r;
        }

        if (s->interface > 0) {
                r = set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, (int) s->interface);
                if (r < 0)
                        return r;
        }

        if (s->no_delay) {
                r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
                if (r < 0)
                        return r;
        }

        if (s->keep_alive) {
                r = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
                if (r < 0)
                        return r;
        }

        if (s->defer_accept > 0) {
                r = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, (int) s->defer_accept);
                if (r < 0)
                        return r;
        }

        if (s->fast_open > 0) {
                r = set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, (int) s->fast_open);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int listen_on(const SocketSettings *s, const Address *address) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
        if (fd < 0)
                return -errno;

        r = apply_settings(fd, s, address->sa.sa_family);
        if (r < 0)
                return r;

        if (bind(fd, &address->sa, address->size) < 0)
                return -errno;

        /* The kernel limits it to net.core.somaxconn. */
        if (listen(fd, s->backlog < 0 ? INT_MAX : s->backlog) < 0)
                return -errno;

        return TAKE_FD(fd);
}

int socket_listen(const SocketSettings *s) {
        Address any;
        int r;

        assert(s->address.size > 0 && s->backlog >= -1);

        r = listen_on(s, &s->address);
        if (!s->fall_back_to_ipv4 || s->ipv6_only || (r != -EAFNOSUPPORT && r != -EADDRNOTAVAIL))
                return r;

        any = address_any(AF_INET);
        address_set_port(&any, address_get_port(&s->address));
        return listen_on(s, &any);
}

int socket_change(int fd, const SocketSettings *s) {
        int r;

        r = set_option(fd, IPPROTO_TCP, TCP_NODELAY, s->no_delay);
        if (r >= 0)
                r = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, s->keep_alive);
        if (r >= 0)
                r = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, (int) s->defer_accept);
        if (r >= 0)
                r = set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, (int) s->fast_open);
        return r;
}

bool socket_is_ipv6_only(int fd) {
        int value = 0;
        socklen_t size = sizeof(value);

        return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, &size) >= 0 && value;
}

bool socket_has_ipv6(void) {
        _cleanup_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
        Address any = address_any(AF_INET6);

        return fd >= 0 && bind(fd, &any.sa, any.size) >= 0;
}

int socket_set_owner(int fd, uid_t uid) {
        return fchown(fd, uid, (gid_t) -1) < 0 ? -errno : 0;
}

int socket_get_local_address(int fd, Address *ret) {
        struct sockaddr_storage storage;
        socklen_t size = sizeof(storage);

        if (getsockname(fd, (struct sockaddr *) &storage, &size) < 0)
                return -errno;

        *ret = address_from_kernel(&storage);
        return 0;
}

int socket_get_arrival_address(int fd, const Address *bound, Address *ret) {
        if (address_is_any(bound))
                return socket_get_local_address(fd, ret);

        *ret = *bound;
        return 0;
}

/* Reads a line of /proc/net/if_inet6. Returns whether it is about the address. */
static bool read_address_state(const char *line, const Address *address, AddressState *ret) {
        struct in6_addr in6;
        unsigned index, flags;
        int n = 0;

        for (size_t i = 0; i < sizeof(in6); i++)
                if (sscanf(line + 2 * i, "%2hhx", &in6.s6_addr[i]) != 1)
                        return false;
        if (sscanf(line + 2 * sizeof(in6), " %x %*x %*x %x%n", &index, &flags, &n) != 2 || n == 0)
                return false;
        if (!IN6_ARE_ADDR_EQUAL(&in6, &address->in6.sin6_addr) ||
            (address->in6.sin6_scope_id != 0 && address->in6.sin6_scope_id != index))
                return false;

        *ret = flags & IFA_F_DADFAILED   ? ADDRESS_DUPLICATE
               : flags & IFA_F_TENTATIVE ? ADDRESS_TENTATIVE
                                         : ADDRESS_ASSIGNED;
        return true;
}

AddressState socket_get_address_state(const Address *address) {
        AddressState state = ADDRESS_MISSING;
        char line[128];
        FILE *f;

        assert(address->sa.sa_family == AF_INET6);

        /* Not by rtnetlink, which waits for a lock that is held while interfaces are configured. */
        f = fopen("/proc/net/if_inet6", "re");
        if (!f)
                return ADDRESS_MISSING;

        while (fgets(line, sizeof(line), f) && !read_address_state(line, address, &state))
                ;
        (void) fclose(f);
        return state;
}

static int get_network(int fd, uint64_t *ret) {
        socklen_t size = sizeof(*ret);

        return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, ret, &size) < 0 ? -errno : 0;
}

int socket_is_in_own_network(int fd) {
        _cleanup_close_ int own_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint64_t own = 0, other = 0;
        int r;

        r = own_fd < 0 ? -errno : get_network(own_fd, &own);
        if (r >= 0)
                r = get_network(fd, &other);
        return r < 0 ? r : own == other;
}

int socket_get_interface(int fd, unsigned *ret) {
        int index;
        socklen_t size = sizeof(index);

        if (getsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &size) < 0)
                return -errno;

        *ret = (unsigned) index;
        return 0;
}

int socket_get_interface_name(int fd, unsigned index, char ret[static IF_NAMESIZE]) {
        struct ifreq request = { .ifr_ifindex = (int) index };

        if (ioctl(fd, SIOCGIFNAME, &request) < 0)
                return -errno;

        memcpy(ret, request.ifr_name, IF_NAMESIZE);
        return 0;
}

/* For a listening socket, the kernel's tcp_get_info() stores the backlog and the length of the queue in
 * members of other names. */
static int get_info(int fd, struct tcp_info *ret) {
        socklen_t size = sizeof(*ret);

        *ret = (struct tcp_info) {};
        return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret, &size) < 0 ? -errno : 0;
}

int socket_get_backlog(int fd, uint32_t *ret) {
        struct tcp_info info;
        int r;

        r = get_info(fd, &info);
        if (r >= 0)
                *ret = info.tcpi_sacked;
        return r;
}

uint32_t socket_count_queued(int fd) {
        struct tcp_info info;

        return get_info(fd, &info) < 0 ? 0 : info.tcpi_unacked;
}

bool socket_has_input(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

bool socket_has_hung_up(int fd) {
        struct pollfd p = { .fd = fd };

        /* POLLHUP and POLLERR are always reported. */
        return poll(&p, 1, 0) > 0;
}

int socket_get_unprivileged_port_start(uint32_t *ret) {
        _cleanup_close_ int fd = -EBADF;
        char text[16];
        unsigned long value;
        ssize_t n;
        char *end;

        fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        n = read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';

        value = strtoul(text, &end, 10);
        if (end == text || value > UINT16_MAX + 1)
                return -EBADMSG;

        *ret = (uint32_t) value;
        return 0;
}

AcceptError socket_classify_accept_error(int error) {
        switch (error) {

        case EAGAIN:
                return ACCEPT_AGAIN;

        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
        case EACCES: /* denied by a security module; the connection stays in the queue */
        case EPERM:
                return ACCEPT_EXHAUSTED;

        /* Pending network errors of the new connection: accept(2), "Error handling". */
        case ECONNABORTED:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case EINTR:
        case ENETDOWN:
        case ENETUNREACH:
        case ENONET:
        case ENOPROTOOPT:
        case EOPNOTSUPP:
        case EPROTO:
        case ETIMEDOUT:
                return ACCEPT_SKIP;

        default:
                return ACCEPT_BROKEN;
        }
}
