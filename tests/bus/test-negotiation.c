/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the service finds out about a client before and while it hands connections to it: whether it takes
 * descriptors at all, and whether it answers Pings. */

#include <sys/socket.h>

#include "base/macros.h"
#include "bus/fixture.h"
#include "bus/kernel.h"

/* Another client is served as ever. */
static void assert_unimpressed(TestClient *client) {
        g_autofree char *listener = test_listen(client, 0, -1, NULL);
        Peers peers = {};

        peers_connect(&peers, test_get_port(client, listener), 3);
        peers_take(&peers, client, 1, 3);
        peers_done(&peers);
}

/* ---- Descriptors ---- */

static void assert_closed_for_want_of_descriptors(TestClient *client, const char *listener) {
        g_autoptr(TestError) error = test_client_wait_error(client);
        g_autoptr(TestNotice) closed = test_client_wait_closed(client);

        g_assert_cmpstr(error->listener, ==, listener);
        g_assert_nonnull(strstr(error->message, "descriptors"));
        g_assert_cmpuint(error->line, >, 0);
        g_assert_cmpuint(error->column, ==, 0);
        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, "error");
        g_assert_cmpuint(error->order, <, closed->order);
}

TEST("a client without descriptors has its listener closed") {
        unsigned fds = test_service_count_fds(f->service);
        TestClient *poor = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);

        /* Each time anew: it may be a program that will not learn. */
        for (unsigned i = 0; i < 3; i++) {
                uint16_t port = test_free_port();
                g_autofree char *listener = test_listen(poor, port, -1, NULL), *gone = NULL;

                assert_closed_for_want_of_descriptors(poor, listener);
                g_assert_false(test_service_is_listening(f->service, port));
                gone = test_listener_call_fails(poor, listener, "Close");
                g_assert_cmpstr(gone, ==, SD_BUS_ERROR_UNKNOWN_OBJECT);
        }
        g_assert_cmpuint(test_client_count_signals(poor, "Error"), ==, 3);
        g_assert_cmpuint(test_client_count_signals(poor, "Closed"), ==, 3);
        assert_unimpressed(f->client);
        test_client_free(poor);
        test_wait_for(test_service_count_fds(f->service) <= fds + 1);
}

TEST("nothing is accepted for a client without descriptors") {
        g_autoptr(TestClient) poor = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);
        g_autofree char *listener = test_listen(poor, 0, -1, "paused", "b", true, NULL);
        uint16_t port = test_get_port(poor, listener);
        Peers peers = {};

        peers_connect(&peers, port, 3);
        test_settle(poor);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 3);
        test_listener_call(poor, listener, "Resume");
        assert_closed_for_want_of_descriptors(poor, listener);
        /* Out of the queue; one that the service had accepted would end without an error. */
        for (unsigned i = 0; i < peers.n; i++)
                g_assert_cmpint(test_wait_end(peers.fds[i]), ==, ECONNRESET);
        g_assert_cmpuint(test_client_count_signals(poor, "AcceptSocket"), ==, 0);
        g_assert_cmpuint(test_client_count_pings(poor), ==, 0);
        peers_done(&peers);
}

/* The reply would carry a descriptor, and no bus passes it on. */
static void assert_refused(Fixture *f, const char *delivery, const char *member) {
        TestClient *poor = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);
        g_autofree char *listener = test_listen(poor, 0, -1, "persistent", "b", true, "delivery", "s",
                                                delivery, NULL);
        g_autofree char *error = test_listener_call_fails(poor, listener, member);
        _cleanup_close_ int fd = -EBADF;

        g_assert_cmpstr(error, ==, SD_BUS_ERROR_NOT_SUPPORTED);
        g_assert_true(test_service_is_listening(f->service, test_get_port(poor, listener)));

        /* It is still there to be had, for one that can. */
        test_client_free(poor);
        test_wait_for(!test_has_owner(f->client, listener));
        test_listener_call(f->client, listener, "Adopt");
        fd = test_listener_call_fd(f->client, listener, member);
}

TEST("a client without descriptors gets no channel") {
        assert_refused(f, "channel", "OpenChannel");
}

TEST("a client without descriptors gets no socket") {
        assert_refused(f, "socket", "TakeSocket");
}

/* ---- Pings ---- */

TEST("one Ping finds out whether a client takes descriptors") {
        g_autofree G_GNUC_UNUSED char *a = test_listen(f->client, 0, -1, NULL);
        g_autofree G_GNUC_UNUSED char *b = test_listen(f->client, 0, -1, NULL);
        g_autofree G_GNUC_UNUSED char *c = test_listen(f->client, 0, -1, "delivery", "s", "pull", NULL);

        test_settle(f->client);
        g_assert_cmpuint(test_client_count_pings(f->client), ==, 1);
}

/* Not twice as much by half an answer. */
TEST("the window doubles when all of it is confirmed") {
        g_autofree G_GNUC_UNUSED char *probed = test_listen(f->client, 0, -1, NULL);
        g_autofree char *listener = test_listen(f->client, 0, -1, "paused", "b", true, NULL);
        unsigned most = test_get_window(f->client), n = 0;
        Peers peers = {};

        test_settle(f->client);
        peers_connect(&peers, test_get_port(f->client, listener), ELEMENTS(peers.fds));
        test_client_set_pings(f->client, TEST_PINGS_HOLD);
        test_listener_call(f->client, listener, "Resume");

        /* It has taken one descriptor already. */
        for (unsigned window = 2; n + window <= peers.n; window = MIN(2 * window, most)) {
                n += window;
                test_wait_for(test_client_count_accepted(f->client) == n);
                test_settle(f->client);
                g_assert_cmpuint(test_client_count_accepted(f->client), ==, n);
                test_assert_counters(f->client, listener, n, n - window);
                /* One for all that it was sent, or for the first and the others. */
                do
                        test_wait_for(test_client_answer_pings(f->client) > 0);
                while (test_get_u64(f->client, listener, "Delivered") < n);
        }
        g_assert_cmpuint(n, >=, 2 * most - 2);
        peers_done(&peers);
}

/* It has read the first Ping, which is proof enough for two connections. */
TEST("a client that ignores Pings gets two connections") {
        unsigned fds = test_service_count_fds(f->service), pings;
        g_autofree char *listener = NULL;
        uint16_t port;
        Peers peers = {};

        test_client_set_pings(f->client, TEST_PINGS_IGNORE);
        listener = test_listen(f->client, 0, -1, NULL);
        port = test_get_port(f->client, listener);
        test_settle(f->client);
        peers_connect(&peers, port, 5);
        peers_take(&peers, f->client, 1, 2);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        test_assert_counters(f->client, listener, 2, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 3);
        /* The listener, and two connections. */
        test_wait_for(test_service_count_fds(f->service) == fds + 1 + 2);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 0);

        /* It was asked once, and is not pestered. */
        pings = test_client_count_pings(f->client);
        g_assert_cmpuint(pings, ==, 2);
        peers_connect(&peers, port, 5);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_pings(f->client), ==, pings);
        peers_done(&peers);
}

TEST("a client that does not read gets one connection") {
        g_autoptr(TestClient) hanging = test_client_new(f->bus, (uid_t) -1);
        sd_bus_message *message = test_message_new(hanging, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                   "Listen");
        uint16_t port = test_free_port();
        g_autoptr(TestCall) call = NULL;
        Peers peers = {};

        g_assert_cmpint(sd_bus_message_append(message, "i", port), >=, 0);
        test_message_append_options(message, NULL);
        g_assert_cmpint(sd_bus_message_append(message, "i", -1), >=, 0);
        test_client_set_stalled(hanging, true);
        call = test_call_start(hanging, message);
        test_wait_for(test_service_is_listening(f->service, port));

        /* The first Ping and one connection are all that it is sent. */
        peers_connect(&peers, port, 4);
        test_settle(f->client);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 3);

        test_client_set_stalled(hanging, false);
        peers_take(&peers, hanging, 1, 4);
        peers_done(&peers);
}

TEST("a client that refuses Pings gets all connections") {
        g_autofree char *listener = NULL;
        Peers peers = {};

        test_client_set_pings(f->client, TEST_PINGS_REFUSE);
        listener = test_listen(f->client, 0, -1, NULL);
        peers_connect(&peers, test_get_port(f->client, listener), 30);
        peers_take(&peers, f->client, 1, 30);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 30);
        test_assert_counters(f->client, listener, 30, 30);
        peers_done(&peers);
}

TEST("a client that ignores Pings and acknowledges gets all connections") {
        g_autofree char *listener = NULL;
        Peers peers = {};

        test_client_set_pings(f->client, TEST_PINGS_IGNORE);
        listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        peers_connect(&peers, test_get_port(f->client, listener), ELEMENTS(peers.fds));
        for (unsigned i = 0; i < peers.n; i++) {
                peers_take(&peers, f->client, i + 1, 1);
                test_acknowledge(f->client, listener, i + 1);
        }
        test_assert_counters(f->client, listener, peers.n, peers.n);
        peers_done(&peers);
}

/* What was on its way when a listener ended is not held against the client for ever, though no Ping will tell
 * that it has arrived: what was acknowledged later was sent later. */
TEST("a closed listener frees the window of a client that ignores Pings") {
        test_client_set_pings(f->client, TEST_PINGS_IGNORE);
        for (unsigned i = 0; i < 12; i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
                Peers peers = {};

                peers_connect(&peers, test_get_port(f->client, listener), 4);
                peers_take(&peers, f->client, 1, 1);
                test_acknowledge(f->client, listener, 1);
                peers_take(&peers, f->client, 2, 1);
                test_listener_call(f->client, listener, "Close");
                peers_done(&peers);
                while (test_client_count_accepted(f->client) > 0)
                        test_accepted_free(test_client_wait_accepted(f->client));
        }
}

/* Acknowledged, but never read: all of it waits in the bus. The bus would stop reading from the service. */
TEST("acknowledging unread connections does not affect others") {
        g_autoptr(TestClient) liar = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(liar, 0, -1, "acknowledge", "b", true, "persistent", "b",
                                                true, NULL);
        uint16_t port = test_get_port(liar, listener);

        test_client_set_stalled(liar, true);
        for (uint64_t serial = 1; serial <= 600; serial++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", port);
                sd_bus_message *message = test_message_new(liar, listener, TEST_LISTENER_INTERFACE,
                                                           "Acknowledge");

                g_assert_cmpint(sd_bus_message_append(message, "t", serial), >=, 0);
                g_assert_cmpint(sd_bus_message_set_expect_reply(message, false), >=, 0);
                g_assert_cmpint(sd_bus_send(NULL, message, NULL), >=, 0);
                sd_bus_message_unref(message);
                test_client_sync_service(f->client);
        }
        assert_unimpressed(f->client);
}
