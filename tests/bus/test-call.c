/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "call": the service calls AcceptSocket of its client. */

#include "bus/fixture.h"

/* Calls that wait for the answer of one client. */
#define CALLS_PER_CLIENT_MAX 8U

#define DEFAULT_HANDLER "/org/example/TCPServerSocket/Client"
#define REFUSED "org.example.Test.Error.Refused"

static char *listen_for_calls(TestClient *client, TestCalls calls) {
        test_client_set_calls(client, calls);
        return test_listen(client, 0, -1, TEST_CALL, NULL);
}

static void assert_counts(TestClient *client,
                          const char *listener,
                          uint64_t accepted,
                          uint64_t delivered,
                          uint64_t refused) {
        test_wait_for(test_get_u64(client, listener, "Delivered") == delivered &&
                      test_get_u64(client, listener, "Refused") == refused);
        g_assert_cmpuint(test_get_u64(client, listener, "Accepted"), ==, accepted);
        g_assert_cmpuint(test_get_u64(client, listener, "Lost"), ==, 0);
}

TEST("each connection arrives in a call, in order, and the reply confirms it") {
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_ANSWER);
        g_autofree char *delivery = test_get_string(f->client, listener, "Delivery");
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        g_assert_cmpstr(delivery, ==, "call");
        peers_connect(&peers, port, 100);
        peers_take(&peers, f->client, 1, 100);
        assert_counts(f->client, listener, 100, 100, 0);

        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        g_autoptr(TestAccepted) last = test_client_wait_accepted(f->client);
        g_assert_cmpstr(last->listener, ==, listener);
        g_assert_cmpstr(last->handler, ==, DEFAULT_HANDLER);
        g_assert_cmpstr(last->remote_address, ==, "127.0.0.1");
        g_assert_cmpuint(last->remote_port, ==, test_local_port(peer));
        g_assert_cmpstr(last->local_address, ==, "127.0.0.1");
        g_assert_cmpuint(last->local_port, ==, port);
        g_assert_cmpstr(last->binary_type, ==, "string");
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}

TEST("the option handler names the object") {
        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        g_autofree char *listener = test_listen(f->client, 0, -1, "handler", "o", "/com/example/Server",
                                                TEST_CALL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        g_assert_cmpstr(accepted->handler, ==, "/com/example/Server");
        test_assert_connected(peer, accepted->socket);
}

TEST("eight calls wait for their answers, and the next connection waits for one of them") {
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_HOLD);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), CALLS_PER_CLIENT_MAX + 4);
        test_wait_for(test_client_count_held(f->client) == CALLS_PER_CLIENT_MAX);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_held(f->client), ==, CALLS_PER_CLIENT_MAX);
        assert_counts(f->client, listener, CALLS_PER_CLIENT_MAX, 0, 0);

        for (unsigned n = 1; n <= 4; n++) {
                test_client_answer_call(f->client, NULL);
                test_wait_for(test_client_count_held(f->client) == CALLS_PER_CLIENT_MAX);
                assert_counts(f->client, listener, CALLS_PER_CLIENT_MAX + n, n, 0);
        }
        peers_take(&peers, f->client, 1, CALLS_PER_CLIENT_MAX + 4);
}

/* They are one client's, so that the second one finds room only when the first one has an answer. */
TEST("the listeners of a client share its eight calls") {
        g_autofree char *first = listen_for_calls(f->client, TEST_CALLS_HOLD);
        g_autofree char *second = test_listen(f->client, 0, -1, TEST_CALL, NULL);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, first), CALLS_PER_CLIENT_MAX);
        test_wait_for(test_client_count_held(f->client) == CALLS_PER_CLIENT_MAX);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, second));
        test_settle(f->client);
        g_assert_cmpuint(test_get_u64(f->client, second, "Accepted"), ==, 0);

        peers_take(&peers, f->client, 1, CALLS_PER_CLIENT_MAX);
        test_client_answer_call(f->client, NULL);
        test_client_expect_accepted(f->client, second, peer, 1);

        /* A closed listener takes its calls along. */
        test_listener_call(f->client, first, "Close");
        while (test_client_count_held(f->client) > 1)
                test_client_answer_call(f->client, NULL);
        test_client_answer_call(f->client, NULL);
        assert_counts(f->client, second, 1, 1, 0);
}

/* dbus-daemon waits for the answers as well, and allows the service 128 calls without one. */
TEST("calls of a closed listener are charged until they are answered") {
        g_autofree char *first = listen_for_calls(f->client, TEST_CALLS_HOLD);
        g_autofree char *second = test_listen(f->client, 0, -1, TEST_CALL, NULL);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, first), CALLS_PER_CLIENT_MAX);
        peers_take(&peers, f->client, 1, CALLS_PER_CLIENT_MAX);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, second));
        test_listener_call(f->client, first, "Close");
        test_settle(f->client);
        g_assert_cmpuint(test_get_u64(f->client, second, "Accepted"), ==, 0);

        test_client_answer_call(f->client, NULL);
        test_client_expect_accepted(f->client, second, peer, 1);
}

TEST("a client that closes listeners with unanswered calls does not affect another") {
        g_autoptr(TestClient) silent = test_client_new(f->bus, (uid_t) -1);

        for (unsigned i = 0; i < 20; i++) {
                g_autofree char *listener = listen_for_calls(silent, TEST_CALLS_HOLD);
                uint16_t port = test_get_port(silent, listener);

                for (unsigned j = 0; j < CALLS_PER_CLIENT_MAX; j++)
                        close_fd(test_connect("::1", port));
                test_settle(silent);
                test_listener_call(silent, listener, "Close");
        }

        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_ANSWER);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 30);
        peers_take(&peers, f->client, 1, 30);
}

TEST("the service keeps its descriptor until the reply, and then the peer sees the end") {
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_HOLD);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));

        test_accepted_free(test_client_wait_accepted(f->client));
        test_settle(f->client);
        g_assert_false(test_has_ended(peer));
        test_client_answer_call(f->client, NULL);
        g_assert_cmpint(test_wait_end(peer), ==, 0);
        assert_counts(f->client, listener, 1, 1, 0);
}

/* Also one that would be transient if the bus itself had sent it. */
TEST("an error of the client closes the connection, counts it as refused, and changes nothing else") {
        static const char *const errors[] = { REFUSED, SD_BUS_ERROR_LIMITS_EXCEEDED, SD_BUS_ERROR_NO_REPLY };
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_HOLD);
        uint16_t port = test_get_port(f->client, listener);

        for (unsigned i = 0; i < ELEMENTS(errors); i++) {
                _cleanup_close_ int peer = test_connect("::1", port);
                g_autoptr(TestAccepted) kept = test_client_wait_accepted(f->client);

                test_client_answer_call(f->client, errors[i]);
                g_assert_cmpint(test_wait_end(peer), ==, 0);
                assert_counts(f->client, listener, i + 1, 0, i + 1);
        }

        _cleanup_close_ int late = test_connect("::1", port);
        test_client_expect_accepted(f->client, listener, late, ELEMENTS(errors) + 1);
        test_client_answer_call(f->client, NULL);
        assert_counts(f->client, listener, ELEMENTS(errors) + 1, 1, ELEMENTS(errors));
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}

static void assert_ended_without_handler(Fixture *f,
                                         const char *listener,
                                         const char *handler,
                                         uint16_t port) {
        g_autoptr(TestError) error = test_client_wait_error(f->client);
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
        g_autofree char *text = g_strdup_printf(
                        "does not export an object %s with the interface "
                        "org.example.TCPServerSocket.Client and its method AcceptSocket "
                        "[no-handler object=%s ",
                        handler, handler);

        if (!strstr(error->message, text))
                g_error("\"%s\" does not say \"%s\"", error->message, text);
        g_assert_cmpstr(error->listener, ==, listener);
        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, "error");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* The first is what sd-bus answers by itself. */
TEST("without the object, its interface or its method, the listener ends with an Error") {
        static const char *const errors[] = { NULL, "org.freedesktop.DBus.Error.UnknownObject",
                                              "org.freedesktop.DBus.Error.UnknownInterface",
                                              "org.freedesktop.DBus.Error.UnknownMethod",
                                              "org.freedesktop.DBus.Error.NoSuchObject" };

        for (size_t i = 0; i < ELEMENTS(errors); i++) {
                test_client_set_calls(f->client, errors[i] ? TEST_CALLS_HOLD : TEST_CALLS_NONE);
                g_autofree char *listener = test_listen(f->client, 0, -1, TEST_CALL, "handler", "o",
                                                        "/not/there", NULL);
                uint16_t port = test_get_port(f->client, listener);
                _cleanup_close_ int peer = test_connect("::1", port);
                if (errors[i]) {
                        test_accepted_free(test_client_wait_accepted(f->client));
                        test_client_answer_call(f->client, errors[i]);
                }
                assert_ended_without_handler(f, listener, "/not/there", port);
                g_assert_cmpint(test_wait_end(peer), ==, 0);
        }
}

TEST("a call that is not answered is reported once, and the others continue") {
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_HOLD);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, 2);
        peers_take(&peers, f->client, 1, 2);
        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        peers_connect(&peers, port, 20);
        peers_take(&peers, f->client, 3, 20);
        assert_counts(f->client, listener, 22, 20, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);

        g_autoptr(TestError) error = test_client_wait_error(f->client);
        g_assert_cmpstr(error->listener, ==, listener);
        g_assert_nonnull(strstr(error->message, "[call-not-answered method=AcceptSocket seconds=5]"));
        peers_connect(&peers, port, 1);
        peers_take(&peers, f->client, 23, 1);

        /* Late answers count. */
        test_client_answer_call(f->client, NULL);
        test_client_answer_call(f->client, REFUSED);
        assert_counts(f->client, listener, 23, 22, 1);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 1);
        g_autofree char *log = test_service_log(f->service);
        g_assert_nonnull(strstr(log, "has not answered a call of AcceptSocket"));
        g_assert_null(strstr(strstr(log, "has not answered a call of AcceptSocket") + 1,
                             "has not answered a call"));
}

TEST("a client that leaves without an answer loses its connections") {
        g_autoptr(TestClient) leaver = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = listen_for_calls(leaver, TEST_CALLS_HOLD);
        uint16_t port = test_get_port(leaver, listener);
        _cleanup_close_ int read = test_connect("::1", port), unread = -EBADF;

        test_client_expect_accepted(leaver, listener, read, 1);
        test_client_set_stalled(leaver, true);
        unread = test_connect("::1", port);
        test_wait_for(test_get_u64(f->client, listener, "Accepted") == 2);
        test_client_disconnect(leaver);
        g_assert_cmpint(test_wait_end(read), ==, 0);
        g_assert_cmpint(test_wait_end(unread), ==, 0);
        test_wait_for(!test_service_is_listening(f->service, port));
}

TEST("the next owner of a persistent listener is called with what the last one has not answered") {
        g_autoptr(TestClient) leaver = test_client_new(f->bus, (uid_t) -1);
        _cleanup_(peers_done) Peers peers = {};

        test_client_set_calls(leaver, TEST_CALLS_HOLD);
        g_autofree char *listener = test_listen(leaver, 0, -1, TEST_CALL, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(leaver, listener);
        peers_connect(&peers, port, 4);
        peers_take(&peers, leaver, 1, 4);
        test_client_answer_call(leaver, NULL);
        test_client_answer_call(leaver, REFUSED);
        assert_counts(leaver, listener, 4, 1, 1);
        test_client_disconnect(leaver);
        test_wait_for(!test_has_owner(f->client, listener));

        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        peers_connect(&peers, port, 1);
        test_listener_call(f->client, listener, "Adopt");
        test_client_expect_accepted(f->client, listener, peers.fds[2], 3);
        test_client_expect_accepted(f->client, listener, peers.fds[3], 4);
        peers_take(&peers, f->client, 5, 1);
        assert_counts(f->client, listener, 5, 4, 1);
}

/* Lower than the service expects. */
static const FixtureOptions three_replies = {
        .bus_xml = "<limit name=\"max_replies_per_connection\">3</limit>",
};

TEST_ON("calls that the bus refuses are made again, and none is lost", &three_replies) {
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_HOLD);
        bool seen[21] = {};
        _cleanup_(peers_done) Peers peers = {};

        if (test_bus_is_broker())
                return;
        peers_connect(&peers, test_get_port(f->client, listener), 20);
        test_wait_for(test_client_count_held(f->client) == 3);
        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        while (test_client_count_held(f->client) > 0)
                test_client_answer_call(f->client, NULL);
        for (unsigned n = 0; n < 20; n++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                g_assert_cmpuint(accepted->serial, <=, 20);
                g_assert_false(seen[accepted->serial]);
                seen[accepted->serial] = true;
                peers_assert_connected(&peers, accepted->socket, (unsigned) accepted->serial - 1);
        }
        assert_counts(f->client, listener, 20, 20, 0);
}

/* dbus-daemon can be configured so. */
static const FixtureOptions short_timeout = { .bus_xml = "<limit name=\"reply_timeout\">50</limit>" };

TEST_ON("a call that the bus ends without an answer is made again", &short_timeout) {
        g_autofree char *listener = listen_for_calls(f->client, TEST_CALLS_HOLD);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));

        if (test_bus_is_broker())
                return;
        for (unsigned n = 0; n < 3; n++)
                test_client_expect_accepted(f->client, listener, peer, 1);
        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        test_client_expect_accepted(f->client, listener, peer, 1);
        assert_counts(f->client, listener, 1, 1, 0);
}

TEST("after a restart, calls without an answer are made again, and the counters are right") {
        _cleanup_(peers_done) Peers peers = {};

        g_clear_pointer(&f->service, test_service_free);
        g_autoptr(Keeper) keeper = keeper_new(f->bus);
        f->service = keeper_start(keeper, f->bus);

        test_client_set_calls(f->client, TEST_CALLS_HOLD);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_CALL, "handler", "o", "/a/handler",
                                                NULL);
        uint16_t port = test_get_port(f->client, listener);
        peers_connect(&peers, port, 5);
        peers_take(&peers, f->client, 1, 5);
        test_client_answer_call(f->client, NULL);
        test_client_answer_call(f->client, REFUSED);
        assert_counts(f->client, listener, 5, 1, 1);

        (void) test_service_kill(f->service);
        test_process_pending();
        keeper_hear(keeper);
        g_clear_pointer(&f->service, test_service_free);
        /* The answer to the last process comes too late. */
        test_client_answer_call(f->client, NULL);
        f->service = keeper_start(keeper, f->bus);

        for (unsigned serial = 3; serial <= 5; serial++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                g_assert_cmpuint(accepted->serial, ==, serial);
                g_assert_cmpstr(accepted->handler, ==, "/a/handler");
                test_assert_connected(accepted->socket, peers.fds[serial - 1]);
        }
        assert_counts(f->client, listener, 5, 1, 1);
        test_client_set_calls(f->client, TEST_CALLS_ANSWER);
        while (test_client_count_held(f->client) > 0)
                test_client_answer_call(f->client, NULL);
        assert_counts(f->client, listener, 5, 4, 1);
        g_clear_pointer(&f->service, test_service_free);
}
