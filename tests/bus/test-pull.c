/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "pull", as one caller sees it. What several have to do with one another is in
 * test-pull-callers.c. */

#include <sys/eventfd.h>

#include "base/macros.h"
#include "bus/fixture.h"
#include "bus/kernel.h"

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

TEST("maximum and timeoutMs have their ranges") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autoptr(TestCall) longest = NULL;
        Peers peers = {};

        assert_invalid(f->client, listener, 0, 0, "maximum");
        assert_invalid(f->client, listener, 0, 1000, "maximum");
        assert_invalid(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX + 1, "timeoutMs");
        assert_invalid(f->client, listener, 16, UINT32_MAX, "timeoutMs");

        longest = test_accept_start(f->client, listener, UINT32_MAX, TEST_ACCEPT_TIMEOUT_MAX);
        peers_connect(&peers, test_get_port(f->client, listener), 1);
        g_assert_null(test_call_error(longest));
        peers_done(&peers);
}

TEST("a connection comes with its details") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, "localAddress", "s", "127.0.0.1",
                                                "binaryType", "s", "arraybuffer", NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestCall *call = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_close_ int peer = test_connect_from("127.0.0.2", "127.0.0.1", port);
        g_autoptr(GPtrArray) batch = test_accept_finish(call);
        TestAccepted *accepted;

        g_assert_cmpuint(batch->len, ==, 1);
        accepted = g_ptr_array_index(batch, 0);
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

TEST("everything arrives, in order") {
        unsigned fds = test_service_count_fds(f->service);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        Peers peers = {};

        peers_connect(&peers, port, 40);
        take(f->client, listener, &peers, 1, 40);
        peers_connect(&peers, port, 24);
        take(f->client, listener, &peers, 41, 24);
        test_assert_counters(f->client, listener, 64, 64);
        g_assert_cmpuint(test_service_count_fds(f->service), <=, fds + 1);
        peers_done(&peers);
}

/* What nobody has asked for stays in the kernel. */
TEST("no more is accepted than asked for") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        Peers peers = {};

        test_open_window(f->client);
        peers_connect(&peers, port, 10);
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 10);

        take(f->client, listener, &peers, 1, 3);
        test_assert_counters(f->client, listener, 3, 3);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 7);
        take(f->client, listener, &peers, 4, 7);
        test_assert_counters(f->client, listener, 10, 10);
        peers_done(&peers);
}

/* Of many, one call gets many, and never more than the bus would take in one message. */
TEST("a call gets many") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        unsigned most = 0;
        Peers peers = {};

        test_open_window(f->client);
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
        peers_done(&peers);
}

/* ---- Waiting ---- */

TEST("a call is over after its time") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint64_t start = test_now();
        Peers peers = {};

        assert_empty(f->client, listener, 80);
        g_assert_cmpuint(test_now() - start, >=, 80 * 1000U);
        start = test_now();
        assert_empty(f->client, listener, 0);
        g_assert_cmpuint(test_now() - start, <, 5 * 1000000U);

        /* Nothing was lost by it. */
        peers_connect(&peers, test_get_port(f->client, listener), 2);
        take(f->client, listener, &peers, 1, 2);
        peers_done(&peers);
}

/* Even of a caller that the service knows nothing of, such as a call from a script. */
TEST("a call that does not wait gets what is there") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 3);
        for (unsigned i = 1; i <= 3; i++) {
                g_autoptr(TestClient) caller = test_client_new(f->bus, (uid_t) -1);
                g_autoptr(GPtrArray) batch = test_accept(caller, listener, 1, 0);

                g_assert_cmpuint(batch->len, ==, 1);
                g_assert_cmpuint(((TestAccepted *) g_ptr_array_index(batch, 0))->serial, ==, i);
                /* If it left before the service knows that it has it, the next one would get it again. */
                test_assert_counters(f->client, listener, i, i);
        }
        assert_empty(f->client, listener, 0);
        peers_done(&peers);
}

TEST("a call waits for Resume") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, "paused", "b", true, NULL);
        TestCall *call = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(GPtrArray) batch = NULL;
        Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 1);
        test_client_sync_service(f->client);
        g_assert_false(test_call_is_done(call));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        assert_not_pending(f->client, 0);
        test_listener_call(f->client, listener, "Resume");
        batch = test_accept_finish(call);
        g_assert_cmpuint(batch->len, ==, 1);
        peers_done(&peers);
}

static void assert_ended(TestCall *call) {
        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_UNKNOWN_OBJECT);
}

TEST("a call ends with its listener") {
        _cleanup_close_ int lifetime = eventfd(0, EFD_CLOEXEC);
        g_autofree char *closed = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autofree char *expired = test_listen(f->client, 0, -1, TEST_PULL, "lifetime", "h", lifetime, NULL);
        g_autofree char *shut = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autoptr(TestCall) a = test_accept_start(f->client, closed, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(TestCall) b = test_accept_start(f->client, closed, 16, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(TestCall) c = test_accept_start(f->client, expired, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_autoptr(TestCall) d = test_accept_start(f->client, shut, 1, TEST_ACCEPT_TIMEOUT_MAX);

        test_listener_call(f->client, closed, "Close");
        assert_ended(a);
        assert_ended(b);
        g_assert_no_errno(eventfd_write(lifetime, 1));
        assert_ended(c);
        test_client_sync_service(f->client);
        g_assert_false(test_call_is_done(d));
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        assert_ended(d);
}

TEST("so many calls may wait") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autoptr(GPtrArray) calls = g_ptr_array_new_with_free_func((GDestroyNotify) test_call_free);
        g_autoptr(TestCall) refused = NULL;

        for (unsigned i = 0; i < 64; i++)
                g_ptr_array_add(calls, test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX));
        refused = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_assert_cmpstr(test_call_error(refused), ==, SD_BUS_ERROR_LIMITS_EXCEEDED);
        for (unsigned i = 0; i < calls->len; i++)
                g_assert_false(test_call_is_done(g_ptr_array_index(calls, i)));
        test_listener_call(f->client, listener, "Close");
        for (unsigned i = 0; i < calls->len; i++)
                assert_ended(g_ptr_array_index(calls, i));
}

/* ---- Pending ---- */

TEST("Pending tells once that a connection waits, and again after a call") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        Peers peers = {};

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
        /* From then on it may have two at a time. */
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        take(f->client, listener, &peers, 2, 2);
        assert_not_pending(f->client, 2);
        peers_connect(&peers, port, 1);
        assert_pending(f->client, listener, 3);
        take(f->client, listener, &peers, 4, 1);
        peers_done(&peers);
}

TEST("Pending tells nothing while a call waits") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestCall *first = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        TestCall *second = test_accept_start(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        Peers peers = {};

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
        peers_done(&peers);
}

static void call_without_reply(TestClient *client, const char *listener, const char *member, bool accept) {
        sd_bus_message *m = test_message_new(client, listener, TEST_LISTENER_INTERFACE, member);

        g_assert_cmpint(sd_bus_message_set_expect_reply(m, false), >=, 0);
        if (accept)
                g_assert_cmpint(sd_bus_message_append(m, "uu", 1U, 1000U), >=, 0);
        g_assert_cmpint(sd_bus_send(test_client_bus(client), m, NULL), >=, 0);
        sd_bus_message_unref(m);
}

/* There is no message that a connection could be in. */
TEST("who expects no reply takes nothing") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        g_autofree char *taken = test_listen(f->client, 0, -1, "delivery", "s", "socket", NULL);
        g_autofree char *channel = test_listen(f->client, 0, -1, "delivery", "s", "channel", NULL);
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
