/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/channel.h"
#include "base/descriptors.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/socket.h"
#include "ctl/service/connection-source.h"

static int set_non_blocking(int fd) {
        int flags = fcntl(fd, F_GETFL);

        return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int connection_source_init(ConnectionSource *in, int fd, bool is_channel, bool non_blocking) {
        assert(fd >= 0);

        *in = (ConnectionSource) { .fd = fd, .is_channel = is_channel, .non_blocking = non_blocking };

        /* O_NONBLOCK also applies to the service's copy of the listening socket, which it does not use. */
        return set_non_blocking(fd);
}

static int set_verbatim(int fd) {
        int one = 1;

        return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
                                               setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)) < 0
                               ? -errno
                               : 0;
}

int connection_source_set_verbatim(ConnectionSource *in) {
        in->is_verbatim = true;
        /* Accepted sockets inherit it. */
        return in->is_channel ? 0 : set_verbatim(in->fd);
}

void connection_source_done(ConnectionSource *in) {
        in->fd = close_fd(in->fd);
}

static int accept_next(ConnectionSource *in, Connection *ret) {
        int flags = SOCK_CLOEXEC | (in->non_blocking ? SOCK_NONBLOCK : 0), fd;
        struct sockaddr_storage storage;
        socklen_t size;

        for (;;) {
                size = sizeof(storage);
                fd = accept4(in->fd, (struct sockaddr *) &storage, &size, flags);
                if (fd >= 0) {
                        *ret = (Connection) { .fd = fd, .remote = address_from_kernel(&storage) };
                        return 1;
                }

                switch (socket_classify_accept_error(errno)) {

                case ACCEPT_AGAIN:
                        return 0;

                case ACCEPT_SKIP:
                        break;

                case ACCEPT_EXHAUSTED:
                        return -errno;

                case ACCEPT_BROKEN:
                        /* EINVAL: the service has revoked it. */
                        return -ECONNRESET;
                }
        }
}

/* The kernel closes a received descriptor that does not fit into the table; so the packet is left in the
 * channel until there is room. */
static int check_room(const ConnectionSource *in) {
        int fd = fcntl(in->fd, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
                return -errno;

        (void) close_fd(fd);
        return 0;
}

/* The addresses are in the packet, because getpeername() fails if the peer has reset the connection, although
 * its data can still be read. */
static int receive_next(ConnectionSource *in, Connection *ret) {
        _cleanup_close_ int fd = -EBADF;
        Address remote, local;
        ChannelRecord record;
        ssize_t n;
        int r;

        r = check_room(in);
        if (r < 0)
                return r;

        do
                n = channel_receive(in->fd, MSG_DONTWAIT, &record, &fd, 1);
        while (n == -EINTR);
        if (n == 0)
                return -ECONNRESET;
        if (n < 0)
                return n == -EAGAIN ? 0 : (int) n;

        r = channel_address_read(&record.remote, &remote);
        if (r >= 0)
                r = channel_address_read(&record.local, &local);
        if (r < 0)
                return r;

        if (in->non_blocking)
                (void) set_non_blocking(fd);
        if (in->is_verbatim)
                (void) set_verbatim(fd);

        *ret = (Connection) { .fd = TAKE_FD(fd), .remote = remote, .local = local };
        return 1;
}

void connection_reset_at_close(int fd) {
        static const struct linger at_once = { .l_onoff = 1 };

        (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

bool connection_source_is_transient(int r) {
        return errno_is_transient(r) || r == -EPERM;
}

const char *connection_source_explain(int r) {
        return r == -EPERM ? _("a firewall or security module prevents accepting them") : strerror(-r);
}

int connection_source_next(ConnectionSource *in, Connection *ret) {
        assert(in->fd >= 0);

        return in->is_channel ? receive_next(in, ret) : accept_next(in, ret);
}

int connection_get_local(const Connection *connection, Address *ret) {
        struct sockaddr_storage storage;
        socklen_t size = sizeof(storage);

        if (connection->local.size > 0) {
                *ret = connection->local;
                return 0;
        }

        if (getsockname(connection->fd, (struct sockaddr *) &storage, &size) < 0)
                return -errno;

        *ret = address_from_kernel(&storage);
        return 0;
}
