/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/channel.h"
#include "base/macros.h"

static_assert(sizeof(ChannelAddress) == 28, "the layout is part of the interface");
static_assert(sizeof(ChannelRecord) == 64, "the layout is part of the interface");

static void channel_address_init(ChannelAddress *address, const Address *a) {
        assert(a->size <= sizeof(*address));

        memset(address, 0, sizeof(*address));
        memcpy(address, &a->in6, a->size);
}

void channel_record_init(ChannelRecord *record,
                         uint64_t serial,
                         const Address *remote,
                         const Address *local) {
        record->serial = serial;
        channel_address_init(&record->remote, remote);
        channel_address_init(&record->local, local);
}

int channel_address_read(const ChannelAddress *a, Address *ret) {
        switch (a->family) {

        case AF_INET:
                *ret = (Address) { .in = a->in, .size = sizeof(a->in) };
                return 0;

        case AF_INET6:
                *ret = (Address) { .in6 = a->in6, .size = sizeof(a->in6) };
                return 0;

        default:
                return -EBADMSG;
        }
}

/* Copies up to max descriptors, and closes the others. Returns the number of all. */
static size_t take_descriptors(struct msghdr *message, int *fds, size_t max) {
        struct cmsghdr *header = CMSG_FIRSTHDR(message);
        size_t n;
        int fd;

        if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                return 0;

        n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
                memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
                if (i < max)
                        fds[i] = fd;
                else
                        (void) close_fd(fd);
        }

        return n;
}

ssize_t channel_receive(int channel, int flags, ChannelRecord *records, int *fds, size_t max) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * CHANNEL_BATCH_MAX)];
        } control;
        struct iovec iov = { .iov_base = records, .iov_len = sizeof(*records) * max };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        size_t n_fds;
        ssize_t n;

        assert(max > 0 && max <= CHANNEL_BATCH_MAX);

        n = recvmsg(channel, &message, flags | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -errno;

        n_fds = take_descriptors(&message, fds, max);
        if (n == 0 && n_fds == 0)
                return 0;
        if (n > 0 && n_fds <= max && n_fds * sizeof(*records) == (size_t) n &&
            !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
                return (ssize_t) n_fds;

        for (size_t i = 0; i < n_fds && i < max; i++)
                (void) close_fd(fds[i]);
        return message.msg_flags & MSG_CTRUNC ? -EMFILE : -EBADMSG;
}
