/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* accept(): when the service calls it, in which order connections arrive, and each way in which it can fail.
 */

#include <linux/seccomp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "bus/fixture.h"

/* --- accept4() of the service stops until this process decides its result; seccomp_unotify(2) --- */

typedef struct AcceptWatch {
        /* Returns 0 if the call shall be made, or the errno that it fails with. */
        int (*choose)(struct AcceptWatch *watch);
        /* So it was. May be NULL. Otherwise a signal has ended the call, and it is made again. */
        void (*chosen)(struct AcceptWatch *watch);

        int filter;
        sd_event_source *source;
} AcceptWatch;

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
        ChannelRecord record = {};
        struct iovec payload = { .iov_base = &record, .iov_len = sizeof(record) };
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

        if (!(revents & EPOLLIN))
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);

        /* A signal has ended the call. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &question) < 0)
                return 0;

        int error = watch->choose(watch);
        answer.call.id = question.call.id;
        answer.call.error = -error;
        answer.call.flags = error == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
        /* Here as well. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &answer) >= 0 && watch->chosen)
                watch->chosen(watch);
        return 0;
}

static void accept_watch_set_up(AcceptWatch *watch, Fixture *fixture) {
        FixtureOptions options = { .service.setup = install_filter };
        uint64_t unused;
        int channel[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel));
        options.service.data = &channel[1];
        fixture_set_up(fixture, &options);
        close_fd(channel[1]); /* so that the channel ends if nothing was sent */
        watch->filter = test_channel_receive(channel[0], &unused);
        close_fd(channel[0]);
        if (watch->filter >= 0)
                must(sd_event_add_io(test_event(), &watch->source, watch->filter, EPOLLIN, on_accept, watch));
}

static void accept_watch_tear_down(AcceptWatch *watch, Fixture *fixture) {
        fixture_tear_down(fixture, NULL);
        sd_event_source_disable_unref(watch->source);
        close_fd(watch->filter);
}

static bool accept_watch_require(const AcceptWatch *watch) {
        if (watch->filter >= 0)
                return true;

        g_test_skip("needs seccomp_unotify(2)");
        return false;
}

/* --- Order --- */

/* In a network of the test's own. */
#define PORT 80

typedef struct Watched {
        Fixture fixture;
        AcceptWatch watch;
        uint16_t port; /* where a peer connects as soon as the service looks, or 0 */
        int peer;
} Watched;

static int connect_first(AcceptWatch *watch) {
        Watched *w = CONTAINER_OF(watch, Watched, watch);

        if (w->port != 0 && w->peer < 0) {
                w->peer = test_connect_start(NULL, "127.0.0.1", w->port);
                g_assert_no_errno(w->peer);
        }
        return 0;
}

static void set_up_watched(Watched *w, const void *data) {
        w->peer = -EBADF;
        w->watch.choose = connect_first;
        accept_watch_set_up(&w->watch, &w->fixture);
}

static void tear_down_watched(Watched *w, const void *data) {
        accept_watch_tear_down(&w->watch, &w->fixture);
}

/* The peer is there whenever the service looks for the first time, be that ever so early. */
TEST_OF("nothing about a listener is sent before the reply of Listen",
        Watched,
        w,
        set_up_watched,
        tear_down_watched,
        NULL) {
        TestClient *client = w->fixture.client;

        if (!test_require_private_network() || !accept_watch_require(&w->watch))
                return;

        w->port = PORT;
        for (unsigned i = 0; i < 3; i++) {
                sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                           "Listen");
                const char *listener;

                must(sd_bus_message_append(message, "ia{sv}i", PORT, 0, -1));
                g_autoptr(TestCall) call = test_call_start(client, message);
                g_assert_null(test_call_error(call));
                must(sd_bus_message_read(test_call_wait(call), "o", &listener));

                /* If the service has not called accept() yet, it does at the first connection. */
                if (w->peer < 0)
                        w->peer = test_connect_start(NULL, "127.0.0.1", PORT);
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);
                g_assert_cmpstr(accepted->listener, ==, listener);
                g_assert_cmpuint(accepted->order, >, test_call_order(call));
                test_assert_connected(w->peer, accepted->socket);
                w->peer = close_fd(w->peer);
                w->port = 0;
                test_listener_call(client, listener, "Close");
                w->port = PORT;
        }
}

TEST("each of 200 connections at once is delivered once") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(GHashTable) peers = g_hash_table_new(NULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        int fds[200];

        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                fds[i] = test_connect_start(NULL, i % 2 == 0 ? "127.0.0.1" : "::1", port);
                g_assert_no_errno(fds[i]);
        }
        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                g_autofree char *own = g_strdup_printf("%5zu", i);

                (void) test_wait_fd(fds[i], POLLOUT);
                test_send(fds[i], own, strlen(own));
        }

        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                char own[6] = "";

                g_assert_cmpuint(accepted->serial, ==, i + 1);
                test_receive(accepted->socket, own, 5);
                size_t index = strtoul(own, NULL, 10);
                g_assert_cmpuint(index, <, ELEMENTS(fds));
                g_assert_cmpuint(accepted->remote_port, ==, test_local_port(fds[index]));
                g_assert_true(g_hash_table_add(peers, GSIZE_TO_POINTER(index)));
        }

        test_wait_for(test_get_u64(f->client, listener, "Delivered") == ELEMENTS(fds));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, ELEMENTS(fds));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, ELEMENTS(fds));
        for (size_t i = 0; i < ELEMENTS(fds); i++)
                close_fd(fds[i]);
}

/* --- Errors --- */

#define SECOND UINT64_C(1000000)

typedef struct AcceptErrors {
        Fixture base;
        AcceptWatch watch;
        int planned[32]; /* errnos of the next calls; after them all is as ever */
        unsigned n_planned;
        int always; /* errno of all calls, or 0 */
        unsigned n_calls;
} AcceptErrors;

static int choose(AcceptWatch *watch) {
        const AcceptErrors *e = CONTAINER_OF(watch, AcceptErrors, watch);

        return e->n_planned > 0 ? e->planned[0] : e->always;
}

static void on_chosen(AcceptWatch *watch) {
        AcceptErrors *e = CONTAINER_OF(watch, AcceptErrors, watch);

        e->n_calls++;
        if (e->n_planned > 0) {
                e->n_planned--;
                memmove(e->planned, e->planned + 1, e->n_planned * sizeof(e->planned[0]));
        }
}

static void set_up(AcceptErrors *e, const void *data) {
        e->watch.choose = choose;
        e->watch.chosen = on_chosen;
        accept_watch_set_up(&e->watch, &e->base);
}

static void tear_down(AcceptErrors *e, const void *data) {
        accept_watch_tear_down(&e->watch, &e->base);
}

static void plan(AcceptErrors *e, int error) {
        g_assert_cmpuint(e->n_planned, <, ELEMENTS(e->planned));
        e->planned[e->n_planned++] = error;
}

static void assert_serves(AcceptErrors *e, const char *listener) {
        test_assert_served(e->base.client, listener, "::1");
        g_assert_cmpuint(e->n_planned, ==, 0);
}

static void assert_no_complaints(AcceptErrors *e, const char *listener) {
        test_client_sync_service(e->base.client);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Closed"), ==, 0);
        g_assert_cmpuint(test_get_u64(e->base.client, listener, "Lost"), ==, 0);
}

#define TEST_HERE(sentence) TEST_OF(sentence, AcceptErrors, e, set_up, tear_down, NULL)

/* accept(2) recommends to treat these like EAGAIN. */
TEST_HERE("errors of one connection do not affect the listener") {
        static const int errors[] = {
                ECONNABORTED, EINTR,     EPROTO,       ENETDOWN,   ENOPROTOOPT, EHOSTDOWN,
                ENONET,       ETIMEDOUT, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
        };
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);

        if (!accept_watch_require(&e->watch))
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
TEST_HERE("EAGAIN is not an error") {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);

        if (!accept_watch_require(&e->watch))
                return;

        plan(e, EAGAIN);
        assert_serves(e, listener);
        assert_no_complaints(e, listener);
}

TEST_HERE("errors of the host are reported once and pass") {
        /* The last two are a security module's, which may change its mind. */
        static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EACCES };

        if (!accept_watch_require(&e->watch))
                return;

        for (size_t i = 0; i < ELEMENTS(errors); i++) {
                g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);

                for (unsigned n = 0; n < 3; n++)
                        plan(e, errors[i]);
                assert_serves(e, listener);

                g_autoptr(TestError) error = test_client_wait_error(e->base.client);
                g_assert_cmpstr(error->listener, ==, listener);
                g_assert_nonnull(strstr(error->message, g_strerror(errors[i])));
                test_client_sync_service(e->base.client);
                g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, i + 1);
                g_assert_cmpuint(test_client_count_signals(e->base.client, "Closed"), ==, 0);
        }
}

/* It tries again, and ever less often. */
TEST_HERE("errors of the host do not use up the CPU") {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);
        g_autofree char *other = test_listen(e->base.client, 0, -1, NULL);

        if (!accept_watch_require(&e->watch))
                return;

        /* They have looked for connections by then. */
        test_client_sync_service(e->base.client);
        e->n_calls = 0;
        e->always = ENFILE;
        _cleanup_close_ int peer = test_connect("::1", test_get_port(e->base.client, listener));
        uint64_t start = test_now();
        test_wait_for(test_now() >= start + 2 * SECOND);
        g_assert_cmpuint(e->n_calls, >=, 3);
        g_assert_cmpuint(e->n_calls, <=, 10);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, 1);

        e->always = 0;
        test_client_expect_peer(e->base.client, NULL, peer);
        assert_serves(e, other);
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, 1);
}

TEST_HERE("errors of the socket end the listener") {
        static const int errors[] = { EINVAL, ENOTSOCK, EFAULT, EIO };
        g_autofree char *other = test_listen(e->base.client, 0, -1, NULL);

        if (!accept_watch_require(&e->watch))
                return;

        for (size_t i = 0; i < ELEMENTS(errors); i++) {
                g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);
                uint16_t port = test_get_port(e->base.client, listener);

                plan(e, errors[i]);
                _cleanup_close_ int peer = test_connect("::1", port);
                g_autoptr(TestError) error = test_client_wait_error(e->base.client);
                g_autoptr(TestNotice) closed = test_client_wait_closed(e->base.client);
                g_assert_cmpstr(error->listener, ==, listener);
                g_assert_nonnull(strstr(error->message, g_strerror(errors[i])));
                g_assert_cmpstr(closed->listener, ==, listener);
                g_assert_cmpstr(closed->reason, ==, "error");
                g_assert_cmpuint(error->order, <, closed->order);
                (void) test_wait_end(peer);
                g_assert_false(test_service_is_listening(e->base.service, port));
                test_assert_text(test_listener_call_fails(e->base.client, listener, "Pause"),
                                 SD_BUS_ERROR_UNKNOWN_OBJECT);
                assert_serves(e, other);
        }
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Error"), ==, ELEMENTS(errors));
        g_assert_cmpuint(test_client_count_signals(e->base.client, "Closed"), ==, ELEMENTS(errors));
}

/* Resume and Listen call accept() at once. */
TEST_HERE("errors of the socket end the listener also inside Resume and Listen") {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, TEST_PAUSED, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(e->base.client, listener));

        if (!accept_watch_require(&e->watch))
                return;

        plan(e, EINVAL);
        test_listener_call(e->base.client, listener, "Resume");
        test_client_expect_closed(e->base.client, NULL, "error");
        (void) test_wait_end(peer);

        plan(e, EINVAL);
        g_autofree char *next = test_listen(e->base.client, 0, -1, NULL);
        test_client_expect_closed(e->base.client, next, "error");
}
