/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each way in which accept() can fail, made to happen. */

#include "base/macros.h"
#include "bus/accept-watch.h"

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

#define TEST_HERE(sentence) TEST_OF(sentence, AcceptErrors, e, set_up, tear_down, NULL)

/* Those that accept(2) says to treat like EAGAIN. */
TEST_HERE("of one connection are nobody else's") {
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
TEST_HERE("nothing to accept is none") {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);

        if (!accept_watch_require(&e->watch))
                return;

        plan(e, EAGAIN);
        assert_serves(e, listener);
        assert_no_complaints(e, listener);
}

TEST_HERE("of the host pass, told once") {
        /* The last two are a security module's, which may change its mind. */
        static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EACCES };

        if (!accept_watch_require(&e->watch))
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
TEST_HERE("of the host do not make it spin") {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, NULL);
        g_autofree char *other = test_listen(e->base.client, 0, -1, NULL);
        _cleanup_close_ int peer = -EBADF;
        g_autoptr(TestAccepted) accepted = NULL;
        uint64_t start;

        if (!accept_watch_require(&e->watch))
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

TEST_HERE("of the socket end the listener") {
        static const int errors[] = { EINVAL, ENOTSOCK, EFAULT, EIO };
        g_autofree char *other = test_listen(e->base.client, 0, -1, NULL);

        if (!accept_watch_require(&e->watch))
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
TEST_HERE("of the socket end the listener inside a call, too") {
        g_autofree char *listener = test_listen(e->base.client, 0, -1, "paused", "b", true, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(e->base.client, listener));
        g_autoptr(TestNotice) closed = NULL, second = NULL;
        g_autofree char *next = NULL;

        if (!accept_watch_require(&e->watch))
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
