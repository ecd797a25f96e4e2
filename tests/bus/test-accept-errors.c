/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each way in which accept() can fail, made to happen: the kernel stops the service at every accept4() and
 * asks this process what is to come of it (seccomp_unotify(2)). */

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/fixture.h"

#define SECOND UINT64_C(1000000)

typedef struct AcceptErrors {
        Fixture base;
        int filter; /* -1: there is none here */
        sd_event_source *source;
        int planned[32]; /* errnos of the next calls; after them all is as ever */
        unsigned n_planned;
        int always; /* errno of all calls, or 0 */
        unsigned n_calls;
} AcceptErrors;

/* In the child; without a filter it sends a byte alone. */
static void install_filter(void *data) {
        struct sock_filter instructions[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_accept4, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = { .len = ELEMENTS(instructions), .filter = instructions };
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec payload = { .iov_base = (void *) "", .iov_len = 1 };
        struct msghdr message = { .msg_iov = &payload, .msg_iovlen = 1 };
        int fd;

        g_assert_no_errno(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        fd = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        if (fd >= 0) {
                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                control.header = (struct cmsghdr) {
                        .cmsg_len = CMSG_LEN(sizeof(int)),
                        .cmsg_level = SOL_SOCKET,
                        .cmsg_type = SCM_RIGHTS,
                };
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        }
        g_assert_no_errno(sendmsg(*(int *) data, &message, MSG_NOSIGNAL));
        close_fd(fd);
}

static int receive_filter(int from) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        char byte;
        struct iovec payload = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr message = {
                .msg_iov = &payload,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int fd;

        g_assert_no_errno(recvmsg(from, &message, MSG_CMSG_CLOEXEC));
        if (!CMSG_FIRSTHDR(&message))
                return -EBADF;
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        return fd;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        AcceptErrors *e = userdata;
        /* The kernel may know of more members than these headers do. */
        union {
                struct seccomp_notif call;
                char space[512];
        } question = {};
        union {
                struct seccomp_notif_resp call;
                char space[512];
        } answer = {};

        if (revents & EPOLLHUP) {
                g_assert_cmpint(sd_event_source_set_enabled(source, SD_EVENT_OFF), >=, 0);
                return 0;
        }
        /* A signal has ended the call. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0)
                return 0;

        answer.call.id = question.call.id;
        if (e->n_planned > 0)
                answer.call.error = -e->planned[0];
        else if (e->always != 0)
                answer.call.error = -e->always;
        else
                answer.call.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        /* Here as well; it is made again then. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) < 0)
                return 0;

        e->n_calls++;
        if (e->n_planned > 0) {
                e->n_planned--;
                memmove(e->planned, e->planned + 1, e->n_planned * sizeof(e->planned[0]));
        }
        return 0;
}

static void set_up(AcceptErrors *e, const void *data) {
        int pair[2];
        FixtureOptions options = { .service = { .setup = install_filter, .data = &pair[1] } };

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
        fixture_set_up(&e->base, &options);
        e->filter = receive_filter(pair[0]);
        close(pair[0]);
        close(pair[1]);
        if (e->filter >= 0)
                g_assert_cmpint(sd_event_add_io(test_event(), &e->source, e->filter, EPOLLIN, on_accept, e),
                                >=, 0);
}

static void tear_down(AcceptErrors *e, const void *data) {
        fixture_tear_down(&e->base, NULL);
        sd_event_source_disable_unref(e->source);
        close_fd(e->filter);
}

static bool require_filter(AcceptErrors *e) {
        if (e->filter >= 0)
                return true;
        g_test_skip("needs seccomp_unotify(2)");
        return false;
}

static void plan(AcceptErrors *e, int error) {
        g_assert_cmpuint(e->n_planned, <, ELEMENTS(e->planned));
        e->planned[e->n_planned++] = error;
}

static void assert_serves(AcceptErrors *e, const char *listener) {
        _cleanup_close_ int peer = test_connect("::1", test_get_port(e->base.client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(e->base.client);

        g_assert_cmpstr(accepted->listener, ==, listener);
        test_assert_connected(peer, accepted->socket);
        g_assert_cmpuint(e->n_planned, ==, 0);
}

static void assert_no_complaints(AcceptErrors *e, const char *listener) {
        test_client_sync_service(e->base.client);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Closed"), ==, 0);
        g_assert_cmpuint(test_get_u64(e->base.client, listener, "Lost"), ==, 0);
}

/* Those that accept(2) says to treat like EAGAIN. */
static void test_of_one_connection(AcceptErrors *e, const void *data) {
        static const int errors[] = {
                ECONNABORTED, EINTR,     EPROTO,       ENETDOWN,   ENOPROTOOPT, EHOSTDOWN,
                ENONET,       ETIMEDOUT, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
        };
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);

        if (!require_filter(e))
                return;

        for (size_t i = 0; i < ELEMENTS(errors); i++) {
                plan(e, errors[i]);
                assert_serves(e, listener);
        }
        for (size_t i = 0; i < ELEMENTS(errors); i++)
                plan(e, errors[i]);
        assert_serves(e, listener);
        assert_no_complaints(e, listener);
        g_assert_cmpuint(test_get_u64(e->base.client, listener, "Accepted"), ==, ELEMENTS(errors) + 1);
}

/* The one that was waited for has left already. */
static void test_of_none(AcceptErrors *e, const void *data) {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);

        if (!require_filter(e))
                return;

        plan(e, EAGAIN);
        assert_serves(e, listener);
        assert_no_complaints(e, listener);
}

static void test_of_the_host(AcceptErrors *e, const void *data) {
        /* The last one is a security module's, which may change its mind. */
        static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM };

        if (!require_filter(e))
                return;

        for (size_t i = 0; i < ELEMENTS(errors); i++) {
                g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);
                g_autoptr(TestError) error = NULL;

                for (unsigned n = 0; n < 3; n++)
                        plan(e, errors[i]);
                assert_serves(e, listener);

                error = test_client_wait_error(e->base.client);
                g_assert_cmpstr(error->listener, ==, listener);
                g_assert_nonnull(strstr(error->message, g_strerror(errors[i])));
                test_client_sync_service(e->base.client);
                g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, i + 1);
                g_assert_cmpuint(test_client_count_signals(e->base.client, "Closed"), ==, 0);
        }
}

/* It tries again, and ever less often. */
static void test_of_the_host_for_long(AcceptErrors *e, const void *data) {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);
        g_autofree char *other = test_listen(e->base.client, 0, -1, NULL);
        _cleanup_close_ int peer = -EBADF;
        g_autoptr(TestAccepted) accepted = NULL;
        uint64_t start;

        if (!require_filter(e))
                return;

        /* They have looked for connections by then. */
        test_client_sync_service(e->base.client);
        e->n_calls = 0;
        e->always = ENFILE;
        peer = test_connect("::1", test_get_port(e->base.client, listener));
        start = test_now();
        test_wait_for(test_now() >= start + 2 * SECOND);
        g_assert_cmpuint(e->n_calls, >=, 3);
        g_assert_cmpuint(e->n_calls, <=, 10);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, 1);

        e->always = 0;
        accepted = test_client_wait_accepted(e->base.client);
        test_assert_connected(peer, accepted->socket);
        assert_serves(e, other);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, 1);
}

static void test_of_the_socket(AcceptErrors *e, const void *data) {
        static const int errors[] = { EINVAL, ENOTSOCK, EFAULT, EIO };
        g_autofree char *other = test_listen(e->base.client, 0, -1, NULL);

        if (!require_filter(e))
                return;

        for (size_t i = 0; i < ELEMENTS(errors); i++) {
                g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL), *gone = NULL;
                uint16_t port = test_get_port(e->base.client, listener);
                _cleanup_close_ int peer = -EBADF;
                g_autoptr(TestError) error = NULL;
                g_autoptr(TestNotice) closed = NULL;

                plan(e, errors[i]);
                peer = test_connect("::1", port);
                error = test_client_wait_error(e->base.client);
                closed = test_client_wait_closed(e->base.client);
                g_assert_cmpstr(error->listener, ==, listener);
                g_assert_nonnull(strstr(error->message, g_strerror(errors[i])));
                g_assert_cmpstr(closed->listener, ==, listener);
                g_assert_cmpstr(closed->reason, ==, "error");
                g_assert_cmpuint(error->order, <, closed->order);
                (void) test_wait_end(peer);
                g_assert_false(test_service_is_listening(e->base.service, port));
                gone = test_listener_call_fails(e->base.client, listener, "Pause");
                g_assert_cmpstr(gone, ==, SD_BUS_ERROR_UNKNOWN_OBJECT);
                assert_serves(e, other);
        }
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, ELEMENTS(errors));
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Closed"), ==, ELEMENTS(errors));
}

/* accept() is first called when the listener goes on: inside Resume, and inside Listen itself. */
static void test_of_the_socket_at_resume(AcceptErrors *e, const void *data) {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, "paused", "b", true, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(e->base.client, listener));
        g_autoptr(TestNotice) closed = NULL, second = NULL;
        g_autofree char *next = NULL;

        if (!require_filter(e))
                return;

        plan(e, EINVAL);
        test_listener_call(e->base.client, listener, "Resume");
        closed = test_client_wait_closed(e->base.client);
        g_assert_cmpstr(closed->reason, ==, "error");
        (void) test_wait_end(peer);

        plan(e, EINVAL);
        next = test_listen(e->base.client, 0, -1, NULL);
        second = test_client_wait_closed(e->base.client);
        g_assert_cmpstr(second->listener, ==, next);
        g_assert_cmpstr(second->reason, ==, "error");
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();

#define ADD(name, function) \
        g_test_add("/accept errors/" name, AcceptErrors, NULL, set_up, function, tear_down)
        ADD("of one connection are nobody else's", test_of_one_connection);
        ADD("nothing to accept is none", test_of_none);
        ADD("of the host pass, told once", test_of_the_host);
        ADD("of the host do not make it spin", test_of_the_host_for_long);
        ADD("of the socket end the listener", test_of_the_socket);
        ADD("of the socket end the listener inside a call, too", test_of_the_socket_at_resume);
#undef ADD
        return test_run();
}
