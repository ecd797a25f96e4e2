/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* OpenLifeline: the listener ends when the last copy of a descriptor is closed. */

#include "bus/fixture.h"

#define ALREADY_TAKEN "org.example.TCPServerSocket.Error.AlreadyTaken"

static int open_lifeline(TestClient *client, const char *listener) {
        return test_listener_call_fd(client, listener, "OpenLifeline");
}

static void assert_serves(Fixture *f, const char *listener) {
        test_assert_served(f->client, listener, "::1");
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 0);
}

static void assert_ends(Fixture *f, const char *listener, uint16_t port) {
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);

        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, "lifeline");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        test_assert_text(test_listener_call_fails(f->client, listener, "Close"), SD_BUS_ERROR_UNKNOWN_OBJECT);

        test_client_sync_service(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 1);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
}

TEST("the listener ends when the last copy is closed") {
        g_autofree char *listener = NULL, *other = test_listen(f->client, 0, -1, NULL);

        _cleanup_close_ int others = open_lifeline(f->client, other);
        test_settle(f->client);
        unsigned n_fds = test_service_count_fds(f->service);

        listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int first = open_lifeline(f->client, listener);
        g_assert_cmpint(fcntl(first, F_GETFD), ==, FD_CLOEXEC);
        _cleanup_close_ int second = fcntl(first, F_DUPFD_CLOEXEC, 3);
        g_assert_no_errno(second);
        assert_serves(f, listener);
        first = close_fd(first);
        assert_serves(f, listener);
        _cleanup_close_ int peer = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        second = close_fd(second);
        assert_ends(f, listener, port);
        test_assert_connected(peer, accepted->socket);
        test_wait_for(test_service_count_fds(f->service) == n_fds);
        test_listener_call(f->client, other, "Pause");
}

TEST("a listener has one lifeline, for its owner") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);

        test_assert_text(test_listener_call_fails(other, listener, "OpenLifeline"),
                         SD_BUS_ERROR_ACCESS_DENIED);
        _cleanup_close_ int lifeline = open_lifeline(f->client, listener);
        test_assert_text(test_listener_call_fails(f->client, listener, "OpenLifeline"), ALREADY_TAKEN);
        assert_serves(f, listener);

        test_listener_call(f->client, listener, "Close");
        /* The service has closed the other end. */
        g_assert_cmpuint(test_wait_fd(lifeline, POLLHUP), ==, POLLHUP);
}

TEST("a lifeline of a persistent listener outlives the owner's connection") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int lifeline = open_lifeline(other, listener);

        g_clear_pointer(&other, test_client_free);
        assert_serves(f, listener);
        g_clear_pointer(&f->client, test_client_free);
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_wait_for(!test_has_owner(f->client, listener));
        g_assert_true(test_service_is_listening(f->service, port));

        lifeline = close_fd(lifeline);
        test_wait_for(!test_service_is_listening(f->service, port));
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}

/* The service has the writing end, and the client can put nothing into the other one. */
TEST("nothing that the client does with a lifeline wakes the service up") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL), *path = NULL;
        _cleanup_close_ int lifeline = open_lifeline(f->client, listener), again = -EBADF;
        char byte;

        /* Only root and the service's user can open it again. */
        path = g_strdup_printf("/proc/self/fd/%d", lifeline);
        again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        test_settle(f->client);
        uint64_t waits = test_service_count_waits(f->service);
        g_assert_cmpint(fcntl(lifeline, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
        g_assert_no_errno(fcntl(lifeline, F_SETFL, O_NONBLOCK | O_ASYNC));
        g_assert_no_errno(fcntl(lifeline, F_SETPIPE_SZ, 4096));
        for (unsigned n = 0; n < 1000; n++) {
                g_assert_cmpint(write(lifeline, "x", 1), <, 0);
                if (again >= 0)
                        g_assert_cmpint(write(again, "x", 1), ==, 1);
                g_assert_cmpint(read(lifeline, &byte, 1), ==, again >= 0 ? 1 : -1);
        }
        g_assert_cmpuint(test_service_count_waits(f->service), <, waits + 100);
        assert_serves(f, listener);

        lifeline = close_fd(lifeline);
        test_client_expect_closed(f->client, NULL, "lifeline");
}
