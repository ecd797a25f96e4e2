/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that take no descriptors, answer no Ping, or do not read. */

#include "bus/fixture.h"

/* Another client is served. */
static void assert_unimpressed(TestClient *client) {
        g_autofree char *listener = test_listen(client, 0, -1, NULL);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(client, listener), 3);
        peers_take(&peers, client, 1, 3);
}

/* ---- Descriptors ---- */

static void assert_not_supported(char *error) {
        g_assert_cmpstr(error, ==, SD_BUS_ERROR_NOT_SUPPORTED);
        g_free(error);
}

TEST("Listen fails for a client without descriptors, and binds nothing") {
        static const char *const deliveries[] = { "signal", "pull", "channel", "socket" };
        unsigned fds = test_service_count_fds(f->service);
        TestClient *poor = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);
        uint16_t port = test_free_port();

        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                g_autofree char *text = NULL;

                assert_not_supported(test_listen_fails(poor, &text, port, -1, "delivery", "s", deliveries[i],
                                                       NULL));
                g_assert_nonnull(strstr(text, "descriptors"));
                g_assert_false(test_service_is_listening(f->service, port));
        }
        g_assert_cmpuint(test_client_count_signals(poor, NULL), ==, 0);
        assert_unimpressed(f->client);
        test_client_free(poor);
        test_wait_for(test_service_count_fds(f->service) <= fds + 1);
}

TEST("no method that sends a descriptor works for a client without them") {
        static const struct {
                const char *delivery;
                const char *member;
        } methods[] = { { "channel", "OpenChannel" }, { "socket", "TakeSocket" } };
        g_autoptr(TestClient) poor = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);

        for (size_t i = 0; i < ELEMENTS(methods); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, "delivery", "s",
                                                        methods[i].delivery, NULL);

                assert_not_supported(test_listener_call_fails(poor, listener, methods[i].member));
                assert_not_supported(test_listener_call_fails(poor, listener, "Adopt"));
                _cleanup_close_ int fd = test_listener_call_fd(f->client, listener, methods[i].member);
        }
}

/* ---- Clients that do not answer or do not read ---- */

TEST("a client that answers no Ping gets all connections") {
        _cleanup_(peers_done) Peers peers = {};

        test_client_set_silent(f->client, true);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        peers_connect(&peers, test_get_port(f->client, listener), ELEMENTS(peers.fds));
        peers_take(&peers, f->client, 1, peers.n);
        test_assert_counters(f->client, listener, peers.n, peers.n);
}

/* The client closes each connection at once. */
TEST("peers of a silent client see the end of their connections") {
        test_client_set_silent(f->client, true);
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        for (unsigned i = 0; i < 50; i++) {
                _cleanup_close_ int peer = test_connect("::1", port);

                test_accepted_free(test_client_wait_accepted(f->client));
                g_assert_cmpint(test_wait_end(peer), ==, 0);
        }
}

TEST("a client that does not read is sent its share, and the rest when it reads") {
        g_autoptr(TestClient) observer = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);
        unsigned window = test_get_window();
        _cleanup_(peers_done) Peers peers = {};

        test_clog(f->client, f->bus);
        peers_connect(&peers, port, window + 5);
        test_wait_for(test_get_u64(observer, listener, "Accepted") >= window);
        test_settle(observer);
        uint64_t accepted = test_get_u64(observer, listener, "Accepted");
        g_assert_cmpuint(accepted, <=, window + test_bus_is_broker());
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, peers.n - accepted);
        /* dbus-broker has taken them over for the client. */
        test_assert_counters(observer, listener, accepted, test_bus_is_broker() ? accepted : 0);

        assert_unimpressed(observer);
        test_client_set_stalled(f->client, false);
        peers_take(&peers, f->client, 1, peers.n);
        test_assert_counters(observer, listener, peers.n, peers.n);
}

static void connect_and_close(uint16_t port, unsigned n) {
        for (; n > 0; n--)
                close_fd(test_connect("::1", port));
}

static void assert_stalled(TestClient *client, const char *listener) {
        g_autoptr(TestError) error = test_client_wait_error(client);

        g_assert_cmpstr(error->listener, ==, listener);
        g_assert_nonnull(strstr(error->message, "[client-stalled]"));
}

/* One does not read the bus, one does not acknowledge, one does not read its channel. Another one has a
 * socket and a channel that it has not asked for yet. */
TEST("a client that takes no connections gets one Error, and the log one message") {
        g_autoptr(TestClient) unread = test_client_new(f->bus, (uid_t) -1);
        g_autoptr(TestClient) channel = test_client_new(f->bus, (uid_t) -1);
        g_autoptr(TestClient) idle = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *socket = test_listen(idle, 0, -1, TEST_SOCKET, NULL);
        g_autofree char *unopened = test_listen(idle, 0, -1, TEST_CHANNEL, NULL);
        g_autofree char *signal = test_listen(unread, 0, -1, NULL);
        g_autofree char *acknowledge = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        g_autofree char *packets = test_listen(channel, 0, -1, TEST_CHANNEL, NULL);
        g_autofree char *message = g_strdup_printf("%s of user %u: Stopped accepting", signal, getuid());
        _cleanup_close_ int fd = test_listener_call_fd(channel, packets, "OpenChannel");
        uint16_t port = test_get_port(unread, signal);

        test_clog(unread, f->bus);
        connect_and_close(port, 30);
        connect_and_close(test_get_port(f->client, acknowledge), 30);
        connect_and_close(test_get_port(channel, packets), 300);
        assert_stalled(f->client, acknowledge);
        assert_stalled(channel, packets);
        test_wait_for(test_service_has_logged(f->service, message));

        /* It takes some, and stalls again. */
        test_acknowledge(f->client, acknowledge, 16);
        test_client_set_stalled(unread, false);
        assert_stalled(unread, signal);
        test_wait_for(test_client_count_accepted(unread) == 30);
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_client_count_signals(unread, "Error"), ==, 1);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 1);
        g_assert_cmpuint(test_client_count_signals(channel, "Error"), ==, 1);
        test_client_sync_service(idle);
        g_assert_cmpuint(test_client_count_signals(idle, "Error"), ==, 0);
}

/* Acknowledged, but never read: all of it waits in the bus. The bus would stop reading from the service. */
TEST("acknowledging unread connections does not affect others") {
        g_autoptr(TestClient) liar = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(liar, 0, -1, TEST_ACKNOWLEDGE, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(liar, listener);

        test_client_set_stalled(liar, true);
        for (uint64_t serial = 1; serial <= 600; serial++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", port);
                sd_bus_message *message = test_message_new(liar, listener, TEST_LISTENER_INTERFACE,
                                                           "Acknowledge");

                must(sd_bus_message_append(message, "t", serial));
                must(sd_bus_message_set_expect_reply(message, false));
                must(sd_bus_send(NULL, message, NULL));
                sd_bus_message_unref(message);
                test_client_sync_service(f->client);
        }
        assert_unimpressed(f->client);
}
