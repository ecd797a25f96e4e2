/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "base/linger.h"
#include "base/macros.h"
#include "daemon/store/packet.h"

/* Packets that one system call removes. */
#define DISCARD_MAX 16

void packet_init(Packet *packet, void *data, size_t size) {
        *packet = (Packet) { .iov = { .iov_base = data, .iov_len = size } };
        packet->message = (struct msghdr) { .msg_iov = &packet->iov, .msg_iovlen = 1 };
}

int packet_send(Packet *packet, int socket, const int *fds, size_t n_fds) {
        assert(n_fds <= PACKET_FDS_MAX);

        if (n_fds > 0) {
                struct cmsghdr *header;

                packet->message.msg_control = packet->control;
                packet->message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                header = CMSG_FIRSTHDR(&packet->message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(header), fds, sizeof(int) * n_fds);
        }

        return sendmsg(socket, &packet->message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Returns -EMFILE or another negative errno if no descriptor can be opened. MSG_CTRUNC itself does not show
 * whether that is why the kernel left out descriptors. */
static int check_descriptors(int any) {
        int fd = fcntl(any, F_DUPFD_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        (void) close_fd(fd);
        return 0;
}

ssize_t packet_peek(int socket,
                    void *buffer,
                    size_t size,
                    int fds[static PACKET_FDS_MAX],
                    size_t *ret_n_fds) {
        size_t n_fds = 0;
        Packet packet;
        ssize_t n;

        packet_init(&packet, buffer, size);
        packet.message.msg_control = packet.control;
        packet.message.msg_controllen = sizeof(packet.control);

        n = recvmsg(socket, &packet.message, MSG_DONTWAIT | MSG_PEEK | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return -errno;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(&packet.message); c; c = CMSG_NXTHDR(&packet.message, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                        n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
                }

        if (n == 0 && n_fds == 0)
                return 0;

        if (n == 0 || n_fds == 0 || packet.message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
                int r = packet.message.msg_flags & MSG_CTRUNC ? check_descriptors(socket) : 0;

                for (size_t i = 0; i < n_fds; i++)
                        (void) close_fd(fds[i]);
                return r < 0 ? r : -EBADMSG;
        }

        *ret_n_fds = n_fds;
        return n;
}

int packet_discard(int socket, unsigned n) {
        struct mmsghdr messages[DISCARD_MAX] = {};
        int r;

        assert(n > 0);

        /* Without a control buffer, the kernel closes the descriptors of the packet. */
        linger_limit_begin();
        if (n == 1)
                r = recv(socket, NULL, 0, MSG_DONTWAIT) < 0 ? -1 : 1;
        else
                r = recvmmsg(socket, messages, n < DISCARD_MAX ? n : DISCARD_MAX, MSG_DONTWAIT, NULL);

        return r < 0 ? -errno : r;
}
