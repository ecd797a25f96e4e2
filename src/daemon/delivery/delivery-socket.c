/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/delivery/delivery.h"
#include "daemon/policy/options.h"

static uint32_t socket_request_room(Delivery *d) {
        return 0;
}

static int socket_push(Delivery *d, bool more) {
        return 0;
}

static void socket_set_owner(Delivery *d, Outbox *outbox) {
        /* The next owner may take it again: a program that restarts has lost it. */
        if (!outbox && d->is_owners)
                d->taken = false;
}

static int socket_take(Delivery *d, int listening_fd) {
        int flags, fd;

        if (d->taken)
                return -EALREADY;

        /* The flag is shared with the copy, and the service does not use the socket any more. */
        flags = fcntl(listening_fd, F_GETFL);
        if (flags < 0)
                return -errno;
        flags = d->parameters.options->non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
        if (fcntl(listening_fd, F_SETFL, flags) < 0)
                return -errno;

        fd = fcntl(listening_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;

        d->taken = true;
        d->is_owners = d->has_owner;
        return fd;
}

static void socket_take_back(Delivery *d) {
        d->taken = false;
}

/* A filter that drops all cannot be removed once it is locked, and survives another listen(). */
static int drop_all(int fd) {
        struct sock_filter drop = { .code = BPF_RET | BPF_K, .k = 0 };
        struct sock_fprog program = { .len = 1, .filter = &drop };
        int one = 1;

        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)) < 0)
                return -errno;

        return 0;
}

/* To an interface that there never is. Whoever wants to bind a bound socket elsewhere needs CAP_NET_RAW. */
static int bind_to_nowhere(int fd) {
        int nowhere = INT_MAX;

        return setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)) < 0 ? -errno : 0;
}

/* The client may have copies. What is left to them is a socket that takes no packet, for good. There are
 * kernels where only the one works without privileges: on some a filter needs CAP_NET_ADMIN, and a socket
 * with the option interface is bound already. And a client that means harm can have done both before, so that
 * all that is left is an end, after which it may listen again. */
static int socket_revoke(Delivery *d, int listening_fd) {
        int dropped = drop_all(listening_fd), bound = bind_to_nowhere(listening_fd);

        (void) shutdown(listening_fd, SHUT_RDWR);
        return dropped < 0 && bound < 0 ? dropped : 0;
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
        .take_socket = socket_take,
        .take_back = socket_take_back,
        .revoke = socket_revoke,
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
