/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "pull". */

#include "bus/fixture.h"

/* Takes exactly n, by as many calls as it needs; serial is the first one's. */
static void take(TestClient *client, const char *listener, const Peers *peers, uint64_t serial, unsigned n) {
        while (n > 0) {
                g_autoptr(GPtrArray) batch = test_accept(client, listener, n, TEST_ACCEPT_TIMEOUT_MAX);

                g_assert_cmpuint(batch->len, >, 0);
                g_assert_cmpuint(batch->len, <=, n);
                n -= batch->len;
                for (unsigned i = 0; i < batch->len; i++, serial++) {
                        TestAccepted *accepted = g_ptr_array_index(batch, i);

                        g_assert_cmpuint(accepted->serial, ==, serial);
                        peers_assert_connected(peers, accepted->socket, (unsigned) serial - 1);
                }
        }
}

static void assert_empty(TestClient *client, const char *listener, uint32_t timeout_ms) {
        g_autoptr(GPtrArray) batch = test_accept(client, listener, 1, timeout_ms);

        g_assert_cmpuint(batch->len, ==, 0);
}

static void assert_invalid(TestClient *client,
                           const char *listener,
                           uint32_t maximum,
                           uint32_t timeout_ms,
                           const char *culprit) {
        g_autoptr(TestCall) call = test_accept_start(client, listener, maximum, timeout_ms);

        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_INVALID_ARGS);
        g_assert_nonnull(strstr(test_call_error_message(call), culprit));
}

/* A connection waits, and there is no call for it. */
static void assert_pending(TestClient *client, const char *listener, unsigned n) {
        g_autoptr(TestNotice) pending = test_client_wait_pending(client);

        g_assert_cmpstr(pending->listener, ==, listener);
        test_client_sync_service(client);
        g_assert_cmpuint(test_client_count_signals(client, "Pending"), ==, n);
}

static void assert_not_pending(TestClient *client, unsigned n) {
        test_client_sync_service(client);
        g_assert_cmpuint(test_client_count_signals(client, "Pending"), ==, n);
}

/* ---- What a call gets ---- */

TEST("maximum and timeoutMs out of range are refused") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        _cleanup_(peers_done) Peers peers = {};

        assert_invalid(f->client, listener, 0, 0, "maximum");
        assert_invalid(f->client, listener, 0, 1000, "maximum");
        assert_invalid(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX + 1, "timeoutMs");
        assert_invalid(f->client, listener, 16, UINT32_MAX, "timeoutMs");

        g_autoptr(TestCall)
                        longest = test_accept_start(f->client, listener, UINT32_MAX, TEST_ACCEPT_TIMEOUT_MAX);
        peers_connect(&peers, test_get_port(f->client, listener), 1);
        g_assert_null(test_call_error(longest));
}

TEST("a connection comes with its details") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, "localAddress", "s", "127.0.0.1",
                                                "binaryType", "s", "arraybuffer", NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestCall *call = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_close_ int peer = test_connect_from("127.0.0.2", "127.0.0.1", port);
        g_autoptr(GPtrArray) batch = test_accept_finish(call);

        g_assert_cmpuint(batch->len, ==, 1);
        TestAccepted *accepted = g_ptr_array_index(batch, 0);
        g_assert_cmpstr(accepted->remote_address, ==, "127.0.0.2");
        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(peer));
        g_assert_cmpstr(accepted->local_address, ==, "127.0.0.1");
        g_assert_cmpuint(accepted->local_port, ==, port);
        g_assert_cmpstr(accepted->binary_type, ==, "arraybuffer");
        g_assert_cmpuint(accepted->serial, ==, 1);
        test_assert_connected(peer, accepted->socket);
        test_assert_counters(f->client, listener, 1, 1);
        g_assert_cmpuint(test_client_count_signals(f->client, "AcceptSocket"), ==, 0);
        test_listener_call(f->client, listener, "Close");
        test_assert_connected(peer, accepted->socket);
}

TEST("all connections arrive in order") {
        unsigned fds = test_service_count_fds(f->service);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, 40);
        take(f->client, listener, &peers, 1, 40);
        peers_connect(&peers, port, 24);
        take(f->client, listener, &peers, 41, 24);
        test_assert_counters(f->client, listener, 64, 64);
        g_assert_cmpuint(test_service_count_fds(f->service), <=, fds + 1);
}

/* Other connections stay in the kernel. */
TEST("no more is accepted than asked for") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, 10);
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 10);

        take(f->client, listener, &peers, 1, 3);
        test_assert_counters(f->client, listener, 3, 3);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 7);
        take(f->client, listener, &peers, 4, 7);
        test_assert_counters(f->client, listener, 10, 10);
}

/* Of many, one call gets many, and never more than the bus would take in one message. */
TEST("a call gets up to 16 connections") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        unsigned most = 0;
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), ELEMENTS(peers.fds));
        for (unsigned taken = 0; taken < peers.n;) {
                g_autoptr(GPtrArray)
                                batch = test_accept(f->client, listener, UINT32_MAX, TEST_ACCEPT_TIMEOUT_MAX);

                g_assert_cmpuint(batch->len, >, 0);
                g_assert_cmpuint(batch->len, <=, TEST_ACCEPT_MAX);
                taken += batch->len;
                most = MAX(most, batch->len);
        }
        g_assert_cmpuint(most, ==, TEST_ACCEPT_MAX);
        test_assert_counters(f->client, listener, peers.n, peers.n);
}

/* ---- Waiting ---- */

TEST("a call ends after timeoutMs") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint64_t start = test_now();
        _cleanup_(peers_done) Peers peers = {};

        assert_empty(f->client, listener, 80);
        g_assert_cmpuint(test_now() - start, >=, 80 * 1000U);
        start = test_now();
        assert_empty(f->client, listener, 0);
        g_assert_cmpuint(test_now() - start, <, 5 * 1000000U);

        /* Nothing was lost by it. */
        peers_connect(&peers, test_get_port(f->client, listener), 2);
        take(f->client, listener, &peers, 1, 2);
}

/* Even of a caller that the service knows nothing of, such as a call from a script. */
TEST("a call with timeoutMs 0 gets waiting connections") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 3);
        for (unsigned i = 1; i <= 3; i++) {
                g_autoptr(TestClient) caller = test_client_new(f->bus, (uid_t) -1);
                g_autoptr(GPtrArray) batch = test_accept(caller, listener, 1, 0);

                g_assert_cmpuint(batch->len, ==, 1);
                g_assert_cmpuint(((TestAccepted *) g_ptr_array_index(batch, 0))->serial, ==, i);
                test_assert_counters(f->client, listener, i, i);
        }
        assert_empty(f->client, listener, 0);
}

TEST("a call waits for Resume") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, TEST_PAUSED, NULL);
        TestCall *call = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 1);
        test_client_sync_service(f->client);
        g_assert_false(test_call_is_done(call));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        assert_not_pending(f->client, 0);
        test_listener_call(f->client, listener, "Resume");
        g_autoptr(GPtrArray) batch = test_accept_finish(call);
        g_assert_cmpuint(batch->len, ==, 1);
}

static void assert_ended(TestCall *call) {
        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_UNKNOWN_OBJECT);
}

TEST("a call ends with its listener") {
        g_autofree char *closed = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autofree char *expired = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autofree char *shut = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        int lifeline = test_listener_call_fd(f->client, expired, "OpenLifeline");
        g_autoptr(TestCall) a = test_accept_start(f->client, closed, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(TestCall) b = test_accept_start(f->client, closed, 16, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(TestCall) c = test_accept_start(f->client, expired, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(TestCall) d = test_accept_start(f->client, shut, 1, TEST_ACCEPT_TIMEOUT_MAX);

        test_listener_call(f->client, closed, "Close");
        assert_ended(a);
        assert_ended(b);
        (void) close_fd(lifeline);
        assert_ended(c);
        test_client_sync_service(f->client);
        g_assert_false(test_call_is_done(d));
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        assert_ended(d);
}

TEST("the number of waiting calls is limited") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autoptr(GPtrArray) calls = g_ptr_array_new_with_free_func((GDestroyNotify) test_call_free);

        for (unsigned i = 0; i < 64; i++)
                g_ptr_array_add(calls, test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX));
        g_autoptr(TestCall) refused = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_assert_cmpstr(test_call_error(refused), ==, SD_BUS_ERROR_LIMITS_EXCEEDED);
        for (unsigned i = 0; i < calls->len; i++)
                g_assert_false(test_call_is_done(g_ptr_array_index(calls, i)));
        test_listener_call(f->client, listener, "Close");
        for (unsigned i = 0; i < calls->len; i++)
                assert_ended(g_ptr_array_index(calls, i));
}

/* ---- Pending ---- */

TEST("Pending is sent once for waiting connections, and again after a call") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        assert_not_pending(f->client, 0);
        peers_connect(&peers, port, 1);
        assert_pending(f->client, listener, 1);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);

        /* Told once. */
        peers_connect(&peers, port, 2);
        assert_not_pending(f->client, 1);

        /* A call does not take all, which is told; the next one does. */
        take(f->client, listener, &peers, 1, 1);
        assert_pending(f->client, listener, 2);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        take(f->client, listener, &peers, 2, 2);
        assert_not_pending(f->client, 2);
        peers_connect(&peers, port, 1);
        assert_pending(f->client, listener, 3);
        take(f->client, listener, &peers, 4, 1);
}

TEST("Pending is not sent while a call waits") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestCall *first = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        TestCall *second = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_(peers_done) Peers peers = {};

        /* A call waits for each. */
        test_client_sync_service(f->client);
        peers_connect(&peers, port, 2);
        g_ptr_array_unref(test_accept_finish(first));
        g_ptr_array_unref(test_accept_finish(second));
        assert_not_pending(f->client, 0);

        /* None waits any more: it has timed out. */
        assert_empty(f->client, listener, 1);
        assert_not_pending(f->client, 0);
        peers_connect(&peers, port, 1);
        assert_pending(f->client, listener, 1);
}

static void call_without_reply(TestClient *client, const char *listener, const char *member, bool accept) {
        sd_bus_message *m = test_message_new(client, listener, TEST_LISTENER_INTERFACE, member);

        must(sd_bus_message_set_expect_reply(m, false));
        if (accept)
                must(sd_bus_message_append(m, "uu", 1U, 1000U));
        must(sd_bus_send(test_client_bus(client), m, NULL));
        sd_bus_message_unref(m);
}

/* There is no message that a connection could be in. */
TEST("a call without a reply takes no connection") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autofree char *taken = test_listen(f->client, 0, -1, TEST_SOCKET, NULL);
        g_autofree char *channel = test_listen(f->client, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener)), fd = -EBADF,
                            other = -EBADF;

        call_without_reply(f->client, listener, "Accept", true);
        call_without_reply(f->client, taken, "TakeSocket", false);
        call_without_reply(f->client, channel, "OpenChannel", false);
        test_client_sync_service(f->client);
        {
                g_autoptr(GPtrArray) batch = test_accept(f->client, listener, 1, 5000);

                g_assert_cmpuint(batch->len, ==, 1);
                test_assert_connected(peer, ((TestAccepted *) batch->pdata[0])->socket);
        }
        fd = test_listener_call_fd(f->client, taken, "TakeSocket");
        other = test_listener_call_fd(f->client, channel, "OpenChannel");
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 1);
}

/* --- Several callers --- */

/* The next call's only connection is this peer's. */
static void assert_got(GPtrArray *batch, int peer, uint64_t serial, const char *text) {
        g_assert_cmpuint(batch->len, ==, 1);
        TestAccepted *accepted = g_ptr_array_index(batch, 0);
        g_assert_cmpuint(accepted->serial, ==, serial);
        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(peer));
        test_expect(accepted->socket, text);
        test_assert_connected(peer, accepted->socket);
}

static void assert_gets(TestClient *client,
                        const char *listener,
                        int peer,
                        uint64_t serial,
                        const char *text) {
        g_autoptr(GPtrArray) batch = test_accept(client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);

        assert_got(batch, peer, serial, text);
}

/* The client hangs, and a reply waits for it in dbus-daemon. */
static void stall_with_an_answer(Fixture *f,
                                 TestClient *hanging,
                                 const char *listener,
                                 uint32_t maximum,
                                 uint64_t accepted) {
        test_clog(hanging, f->bus);
        test_call_free(test_accept_start(hanging, listener, maximum, TEST_ACCEPT_TIMEOUT_MAX));
        test_wait_for(test_get_u64(f->client, listener, "Accepted") == accepted);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Delivered"), <, accepted);
}

/* dbus-broker takes messages over for their receivers. */
static bool require_daemon(void) {
        if (test_bus_is_broker())
                g_test_skip("the bus is dbus-broker");
        return !test_bus_is_broker();
}

TEST("calls are answered in the order they came") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        TestClient *const callers[] = { f->client, other, other, f->client, other, f->client };
        TestCall *calls[ELEMENTS(callers)];

        for (size_t i = 0; i < ELEMENTS(callers); i++) {
                calls[i] = test_accept_start(callers[i], listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
                test_client_sync_service(callers[i]);
        }

        for (size_t i = 0; i < ELEMENTS(callers); i++) {
                g_autofree char *text = g_strdup_printf("turn %zu", i);
                _cleanup_close_ int peer = test_connect_and_say(port, text);
                g_autoptr(GPtrArray) batch = test_accept_finish(calls[i]);

                assert_got(batch, peer, i + 1, text);
                test_client_sync_service(f->client);
                test_client_sync_service(other);
                for (size_t j = i + 1; j < ELEMENTS(callers); j++)
                        g_assert_false(test_call_is_done(calls[j]));
        }
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == ELEMENTS(callers));
}

TEST("a caller that leaves before its reply loses no connection") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        TestClient *leaving = test_client_new(f->bus, (uid_t) -1);

        TestCall *first = test_accept_start(leaving, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        test_client_sync_service(leaving);
        TestCall *second = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        test_client_sync_service(f->client);
        test_call_free(first);
        test_client_free(leaving);

        _cleanup_close_ int peer = test_connect_and_say(test_get_port(f->client, listener),
                                                        "for the next caller");
        g_autoptr(GPtrArray) batch = test_accept_finish(second);
        assert_got(batch, peer, 1, "for the next caller");
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
}

TEST("a reply that waits in dbus-daemon when its caller leaves loses no connection") {
        enum {
                ROUNDS = 10
        };
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        unsigned fds = test_service_count_fds(f->service);

        if (!require_daemon())
                return;

        for (unsigned i = 0; i < ROUNDS; i++) {
                TestClient *leaving = test_client_new(f->bus, (uid_t) -1);
                _cleanup_close_ int peer = test_connect_and_say(port, "not lost");

                stall_with_an_answer(f, leaving, listener, 1, i + 1);
                test_client_free(leaving);
                assert_gets(f->client, listener, peer, i + 1, "not lost");
        }
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == ROUNDS);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, ROUNDS);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
        test_wait_for(test_service_count_fds(f->service) <= fds + 1);
}

/* Nothing has to be closed, and the caller need not call again. */
TEST("a peer sees the end when its caller closes the connection") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));

        g_ptr_array_unref(test_accept(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX));
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

static void send_descriptors(TestClient *sender, TestClient *receiver, unsigned n_messages) {
        static const char padding[32 * 1024];

        for (unsigned i = 0; i < n_messages; i++) {
                g_autoptr(sd_bus_message) message = NULL;

                must(sd_bus_message_new_signal(test_client_bus(sender), &message, "/test", "test.Test",
                                               "Test"));
                must(sd_bus_message_set_destination(message, test_client_name(receiver)));
                must(sd_bus_message_append_array(message, 'y', padding, sizeof(padding)));
                for (unsigned j = 0; j < 16; j++)
                        must(sd_bus_message_append(message, "h", STDIN_FILENO));
                must(sd_bus_send(test_client_bus(sender), message, NULL));
        }
}

/* dbus-daemon refuses messages with descriptors to a client for which 64 of them wait. */
TEST("a connection in a refused reply goes to the next caller") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        g_autoptr(TestClient) one = test_client_new(f->bus, (uid_t) -1),
                              two = test_client_new(f->bus, (uid_t) -1);
        TestClient *hanging = test_client_new(f->bus, (uid_t) -1);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int known = test_connect_and_say(port, "known"), unread = -EBADF, refused = -EBADF;

        if (!require_daemon())
                return;

        assert_gets(f->client, listener, known, 1, "known");
        unread = test_connect_and_say(port, "unread");
        stall_with_an_answer(f, hanging, listener, 1, 2);
        send_descriptors(one, hanging, 12);
        send_descriptors(two, hanging, 12);
        test_client_sync(two);

        test_call_free(test_accept_start(hanging, listener, 1, TEST_ACCEPT_TIMEOUT_MAX));
        test_client_sync_service(f->client);
        TestCall *call = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        test_client_sync_service(f->client);
        refused = test_connect_and_say(port, "refused");
        g_autoptr(GPtrArray) batch = test_accept_finish(call);
        assert_got(batch, refused, 3, "refused");

        test_client_free(hanging);
        assert_gets(f->client, listener, unread, 2, "unread");
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
}

TEST("an owner that leaves ends its connections") {
        unsigned fds = test_service_count_fds(f->service);
        TestClient *leaving = test_client_new(f->bus, (uid_t) -1);
        int peers[3];

        g_autofree char *listener = test_listen(leaving, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(leaving, listener);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                peers[i] = test_connect_and_say(port, "hello");
        test_client_set_stalled(leaving, true);
        test_call_free(test_accept_start(leaving, listener, 2, TEST_ACCEPT_TIMEOUT_MAX));
        test_call_free(test_accept_start(leaving, listener, 16, TEST_ACCEPT_TIMEOUT_MAX));
        test_wait_for(test_service_count_queued(f->service, port) == 0);
        test_client_free(leaving);
        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                (void) test_wait_end(peers[i]);
                close_fd(peers[i]);
        }
        test_wait_for(!test_service_is_listening(f->service, port));
        test_wait_for(test_service_count_fds(f->service) == fds);
}

/* Its calls are first in the queue, and it does not read their replies. */
TEST("a caller that hangs does not delay others") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        g_autoptr(TestClient) hanging = test_client_new(f->bus, (uid_t) -1);
        _cleanup_(peers_done) Peers peers = {};

        g_free(test_listen(hanging, 0, -1, NULL)); /* it is known to take descriptors */
        test_clog(hanging, f->bus);
        for (unsigned i = 0; i < 40; i++)
                test_call_free(test_accept_start(hanging, listener, 16, TEST_ACCEPT_TIMEOUT_MAX));
        /* Until it gets no more, and one is left. */
        do {
                peers_connect(&peers, port, 1);
                test_settle(f->client);
        } while (test_service_count_queued(f->service, port) == 0);

        for (unsigned i = 0; i < 100; i++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect_and_say(port, "mine");
                g_autoptr(GPtrArray) batch = test_accept(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);

                g_assert_cmpuint(batch->len, ==, 1);
        }
}

/* It was waiting for room, so that nothing was accepted. */
TEST("the owner gets Pending when the last caller leaves") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        TestClient *hanging = test_client_new(f->bus, (uid_t) -1);
        _cleanup_(peers_done) Peers peers = {};

        g_free(test_listen(hanging, 0, -1, NULL)); /* it is known to take descriptors */
        test_clog(hanging, f->bus);
        for (unsigned i = 0; i < 40; i++)
                test_call_free(test_accept_start(hanging, listener, 16, TEST_ACCEPT_TIMEOUT_MAX));
        peers_connect(&peers, test_get_port(f->client, listener), test_get_window() + 5);
        test_wait_for(test_get_u64(f->client, listener, "Accepted") > 0);
        test_settle(f->client);
        unsigned n_pending = test_client_count_signals(f->client, "Pending");

        test_client_free(hanging);
        test_wait_for(test_client_count_signals(f->client, "Pending") > n_pending);
}

TEST("a listener without an owner can be called") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestClient *next = test_client_new(f->bus, (uid_t) -1);

        test_client_free(f->client);
        f->client = next;
        test_wait_for(!test_has_owner(next, listener));
        _cleanup_close_ int first = test_connect_and_say(port, "first");
        test_client_sync_service(next);
        g_assert_cmpuint(test_get_u64(next, listener, "Accepted"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(next, NULL), ==, 0);

        assert_gets(next, listener, first, 1, "first");
        g_assert_false(test_has_owner(next, listener));
        _cleanup_close_ int second = test_connect_and_say(port, "second");
        test_client_sync_service(next);
        g_assert_cmpuint(test_client_count_signals(next, NULL), ==, 0);

        /* An owner is told what waits already. */
        test_listener_call(next, listener, "Adopt");
        test_notice_free(test_client_wait_pending(next));
        assert_gets(next, listener, second, 2, "second");
        g_assert_cmpuint(test_client_count_signals(next, "Pending"), ==, 1);
}

/* The owner is told, even if others call. */
TEST("Pending is sent only to the owner") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        _cleanup_close_ int first = test_connect_and_say(port, "first"), second = -EBADF;

        test_notice_free(test_client_wait_pending(f->client));
        assert_gets(other, listener, first, 1, "first");
        second = test_connect_and_say(port, "second");
        test_notice_free(test_client_wait_pending(f->client));
        assert_gets(other, listener, second, 2, "second");
        test_client_sync_service(other);
        g_assert_cmpuint(test_client_count_signals(other, NULL), ==, 0);
}

TEST("a caller without descriptors is refused and loses no connection") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        g_autoptr(TestClient) poor = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);
        g_autoptr(TestCall) early = test_accept_start(poor, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_close_ int peer = test_connect_and_say(port, "for another caller");

        g_assert_cmpstr(test_call_error(early), ==, SD_BUS_ERROR_NOT_SUPPORTED);
        g_autoptr(TestCall) late = test_accept_start(poor, listener, 16, 0);
        g_assert_cmpstr(test_call_error(late), ==, SD_BUS_ERROR_NOT_SUPPORTED);
        g_assert_true(test_service_is_listening(f->service, port));

        assert_gets(f->client, listener, peer, 1, "for another caller");
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
}

/* ---- A bus that denies its statistics ---- */

static const FixtureOptions without_statistics = {
        .bus_xml = "<policy context='mandatory'>"
                   "<deny send_destination='org.freedesktop.DBus'"
                   " send_interface='org.freedesktop.DBus.Debug.Stats'/>"
                   "</policy>",
};

/* One after the other: on dbus-broker, the service asks for the statistics when no other answer is due. */
TEST_ON("calls are answered on a bus that denies its statistics", &without_statistics) {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 2 * test_get_window());
        for (unsigned i = 0; i < peers.n; i++) {
                g_autoptr(GPtrArray) batch = test_accept(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);

                g_assert_cmpuint(batch->len, ==, 1);
        }
        test_wait_for(test_service_has_logged(f->service, "The bus does not report"));
}
