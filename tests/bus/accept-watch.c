/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/macros.h"
#include "bus/accept-watch.h"

/* As test_channel_receive() reads it. */
static void send_descriptor(int channel, int fd) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {
                .header = {
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                },
        };
        struct iovec payload = { .iov_base = (uint64_t[]) { 0 }, .iov_len = sizeof(uint64_t) };
        const struct msghdr message = {
                .msg_iov = &payload,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };

        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        g_assert_no_errno((int) sendmsg(channel, &message, MSG_NOSIGNAL));
}

/* In the service's process, before it starts. */
static void install_filter(void *data) {
        int fd = test_filter_call(SYS_accept4, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
        const int *channel = data;

        if (fd >= 0)
                send_descriptor(*channel, fd);
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        AcceptWatch *watch = userdata;
        /* The kernel may know of more members than these headers do. */
        union {
                struct seccomp_notif call;
                char space[512];
        } question = {};
        union {
                struct seccomp_notif_resp call;
                char space[512];
        } answer = {};
        int error;

        if (!(revents & EPOLLIN))
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);

        /* A signal has ended the call. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0)
                return 0;

        error = watch->choose(watch);
        answer.call.id = question.call.id;
        answer.call.error = -error;
        answer.call.flags = error == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
        /* Here as well. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) >= 0 && watch->chosen)
                watch->chosen(watch);
        return 0;
}

void accept_watch_set_up(AcceptWatch *watch, Fixture *fixture) {
        FixtureOptions options = { .service.setup = install_filter };
        uint64_t unused;
        int channel[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel));
        options.service.data = &channel[1];
        fixture_set_up(fixture, &options);
        close_fd(channel[1]); /* nobody has it any more, and there is an end if nothing was sent */
        watch->filter = test_channel_receive(channel[0], &unused);
        close_fd(channel[0]);
        if (watch->filter >= 0)
                g_assert_cmpint(sd_event_add_io(test_event(), &watch->source, watch->filter, EPOLLIN,
                                                on_accept, watch),
                                >=, 0);
}

void accept_watch_tear_down(AcceptWatch *watch, Fixture *fixture) {
        fixture_tear_down(fixture, NULL);
        sd_event_source_disable_unref(watch->source);
        close_fd(watch->filter);
}

bool accept_watch_require(const AcceptWatch *watch) {
        if (watch->filter >= 0)
                return true;

        g_test_skip("needs seccomp_unotify(2)");
        return false;
}
