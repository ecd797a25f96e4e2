/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/delivery/delivery.h"
#include "daemon/policy/options.h"
#include "guard/guard.h"

static uint32_t socket_request_room(Delivery *d) {
        return 0;
}

static int socket_push(Delivery *d, bool more) {
        return 0;
}

static void socket_set_owner(Delivery *d, Outbox *outbox) {
        /* The next owner may take it again, as the program may be the same one after a restart. */
        if (!outbox && d->holder == DELIVERY_HOLDER_OWNER)
                d->holder = DELIVERY_HOLDER_NONE;
}

int delivery_socket_take(Delivery *d, int listening_fd) {
        int flags, fd;

        if (!delivery_is(d, DELIVERY_SOCKET))
                return -EOPNOTSUPP;
        if (d->holder != DELIVERY_HOLDER_NONE)
                return -EALREADY;

        /* All copies share the flag, and the service does not use its own. */
        flags = fcntl(listening_fd, F_GETFL);
        if (flags < 0)
                return -errno;
        flags = d->parameters.options->non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        if (fcntl(listening_fd, F_SETFL, flags) < 0)
                return -errno;

        fd = fcntl(listening_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;

        delivery_set_holder(d);
        return fd;
}

bool delivery_socket_is_taken(const Delivery *d) {
        return delivery_is(d, DELIVERY_SOCKET) && d->holder != DELIVERY_HOLDER_NONE;
}

static void socket_take_back(Delivery *d) {
        d->holder = DELIVERY_HOLDER_NONE;
}

/* The socket gets no packet any more. Fails with ENOPROTOOPT if the socket has no guard. */
static int clear_mark(int fd) {
        return setsockopt(fd, GUARD_LEVEL, GUARD_CLEAR_MARK, NULL, 0) < 0 ? -errno : 0;
}

/* Without a guard: a filter that drops all packets, and an interface that never exists. Either measure alone
 * keeps connections from the client's copies, and each may fail: some kernels require CAP_NET_ADMIN for a
 * filter, a socket with the option interface is already bound, and a malicious client may have locked a
 * filter and bound the socket itself. Neither can be undone without CAP_NET_ADMIN or CAP_NET_RAW. */
static int block(int fd) {
        struct sock_filter drop = { .code = BPF_RET | BPF_K, .k = 0 };
        struct sock_fprog program = { .len = 1, .filter = &drop };
        int r = 0, one = 1, nowhere = INT_MAX;

        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)) < 0)
                r = -errno;

        return setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)) < 0 ? r : 0;
}

/* shutdown() ends the socket, but the client may call listen() again, so that it is not sufficient. */
int delivery_socket_revoke(Delivery *d, int listening_fd) {
        int r;

        if (!delivery_is(d, DELIVERY_SOCKET))
                return 0;

        r = clear_mark(listening_fd);
        if (r < 0)
                r = block(listening_fd);

        (void) shutdown(listening_fd, SHUT_RDWR);
        return r;
}

static Delivery *socket_free(Delivery *d) {
        delivery_done(d);
        free(d);
        return NULL;
}

static const DeliveryOps socket_ops = {
        .free = socket_free,
        .set_owner = socket_set_owner,
        .request_room = socket_request_room,
        .push = socket_push,
        .take_back = socket_take_back,
};

int delivery_socket_new(const DeliveryParameters *parameters, Delivery **ret) {
        Delivery *d;

        d = calloc(1, sizeof(*d));
        if (!d)
                return -ENOMEM;

        delivery_init(d, &socket_ops, parameters);

        *ret = d;
        return 0;
}
