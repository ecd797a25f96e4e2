/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/address.h"
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

static int accept_next(ConnectionSource *in, int *ret_fd, Address *ret_peer) {
        int flags = SOCK_CLOEXEC | (in->non_blocking ? SOCK_NONBLOCK : 0), fd;
        struct sockaddr_storage storage;
        socklen_t size;

        for (;;) {
                size = sizeof(storage);
                fd = accept4(in->fd, (struct sockaddr *) &storage, &size, flags);
                if (fd >= 0) {
                        *ret_fd = fd;
                        *ret_peer = address_from_kernel(&storage);
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

static int receive_next(ConnectionSource *in, int *ret_fd, Address *ret_peer) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        uint64_t serial;
        struct iovec iov = { .iov_base = &serial, .iov_len = sizeof(serial) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
        struct sockaddr_storage storage;
        socklen_t size;
        ssize_t n;
        int r, fd;

        for (;;) {
                r = check_room(in);
                if (r < 0)
                        return r;

                message.msg_controllen = sizeof(control);
                n = recvmsg(in->fd, &message, MSG_CMSG_CLOEXEC);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (n == 0)
                        return -ECONNRESET;
                if (!CMSG_FIRSTHDR(&message))
                        return -EMFILE;

                memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
                size = sizeof(storage);
                if (getpeername(fd, (struct sockaddr *) &storage, &size) == 0 &&
                    (!in->non_blocking || set_non_blocking(fd) >= 0) &&
                    (!in->is_verbatim || set_verbatim(fd) >= 0))
                        break;

                /* The peer has reset the connection. */
                (void) close_fd(fd);
        }

        *ret_fd = fd;
        *ret_peer = address_from_kernel(&storage);
        return 1;
}

bool connection_source_is_transient(int r) {
        return errno_is_transient(r) || r == -EPERM;
}

const char *connection_source_explain(int r) {
        return r == -EPERM ? _("a firewall or security module prevents accepting them") : strerror(-r);
}

int connection_source_next(ConnectionSource *in, int *ret_fd, Address *ret_peer) {
        assert(in->fd >= 0);

        return in->is_channel ? receive_next(in, ret_fd, ret_peer) : accept_next(in, ret_fd, ret_peer);
}
