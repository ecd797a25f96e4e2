/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who says that a connection has arrived: the client's answer to a Ping, or with the option acknowledge the
 * client itself. */

#include "base/macros.h"
#include "bus/fixture.h"
#include "bus/kernel.h"

/* So many a listener may leave unacknowledged, whatever the client's window. */
#define UNACKNOWLEDGED_MAX 16

#define WRONG_DELIVERY "org.example.TCPServerSocket.Error.WrongDelivery"

typedef struct Peers {
        int fds[32];
        unsigned n;
} Peers;

static void peers_connect(Peers *peers, uint16_t port, unsigned n) {
        g_assert_cmpuint(peers->n + n, <=, ELEMENTS(peers->fds));
        for (; n > 0; n--)
                peers->fds[peers->n++] = test_connect("::1", port);
}

static void peers_done(Peers *peers) {
        while (peers->n > 0)
                close_fd(peers->fds[--peers->n]);
}

/* Everything that the service sent, and what it was then told. */
static void settle(Fixture *f) {
        for (unsigned i = 0; i < 6; i++)
                test_client_sync_service(f->client);
}

static void acknowledge(TestClient *client, const char *listener, uint64_t serial) {
        sd_bus_message_unref(
                        test_call(client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t", serial));
}

static void assert_not_acknowledged(Fixture *f, const char *listener, uint64_t serial, const char *expected) {
        g_autofree char *message = NULL;
        g_autofree char *error = test_call_fails(f->client, &message, listener, TEST_LISTENER_INTERFACE,
                                                 "Acknowledge", "t", serial);

        g_assert_cmpstr(error, ==, expected);
        g_assert_nonnull(strstr(message, streq(expected, WRONG_DELIVERY) ? "acknowledge" : "serial"));
}

static void assert_counters(Fixture *f, const char *listener, uint64_t accepted, uint64_t delivered) {
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, accepted);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Delivered"), ==, delivered);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
}

/* Takes n, checks their serials, and lets go of them. */
static void take(Fixture *f, uint64_t first_serial, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                g_assert_cmpuint(accepted->serial, ==, first_serial + i);
        }
}

TEST("without the option a Ping asks") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", false, NULL);
        Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 1);
        take(f, 1, 1);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        /* The first, before there was a connection, asked whether it takes descriptors. */
        g_assert_cmpuint(test_client_count_pings(f->client), ==, 2);
        assert_counters(f, listener, 1, 1);
        peers_done(&peers);
}

TEST("with the option no Ping asks") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        Peers peers = {};

        peers_connect(&peers, port, 3);
        take(f, 1, 3);
        settle(f);
        /* Only whether it takes descriptors. */
        g_assert_cmpuint(test_client_count_pings(f->client), ==, 1);
        assert_counters(f, listener, 3, 0);

        acknowledge(f->client, listener, 3);
        assert_counters(f, listener, 3, 3);
        g_assert_cmpuint(test_client_count_pings(f->client), ==, 1);
        peers_done(&peers);
}

/* The client closes what it gets at once, here; that alone ends no connection. */
TEST("the service keeps its own until then") {
        unsigned n_fds = test_service_count_fds(f->service) + 1;
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        Peers peers = {};

        settle(f);
        peers_connect(&peers, test_get_port(f->client, listener), 2);
        take(f, 1, 2);
        /* What asked whether the bus is rid of them goes as well. */
        test_wait_for(test_service_count_fds(f->service) == n_fds + 2);
        acknowledge(f->client, listener, 1);
        g_assert_cmpuint(test_service_count_fds(f->service), ==, n_fds + 1);
        acknowledge(f->client, listener, 2);
        g_assert_cmpuint(test_service_count_fds(f->service), ==, n_fds);
        /* It was the last copy. */
        g_assert_cmpint(test_wait_end(peers.fds[0]), ==, 0);
        g_assert_cmpint(test_wait_end(peers.fds[1]), ==, 0);
        peers_done(&peers);
}

TEST("it makes room, up to the serial") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        Peers peers = {};

        peers_connect(&peers, port, UNACKNOWLEDGED_MAX + 4);
        take(f, 1, UNACKNOWLEDGED_MAX);
        settle(f);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 4);
        assert_counters(f, listener, UNACKNOWLEDGED_MAX, 0);

        /* Up to one, not from one. */
        acknowledge(f->client, listener, 3);
        take(f, UNACKNOWLEDGED_MAX + 1, 3);
        settle(f);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);
        assert_counters(f, listener, UNACKNOWLEDGED_MAX + 3, 3);

        acknowledge(f->client, listener, UNACKNOWLEDGED_MAX + 3);
        take(f, UNACKNOWLEDGED_MAX + 4, 1);
        assert_counters(f, listener, UNACKNOWLEDGED_MAX + 4, UNACKNOWLEDGED_MAX + 3);
        peers_done(&peers);
}

TEST("once more is harmless") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        Peers peers = {};

        peers_connect(&peers, port, 2);
        take(f, 1, 2);
        acknowledge(f->client, listener, 2);
        acknowledge(f->client, listener, 2);
        acknowledge(f->client, listener, 1);
        assert_counters(f, listener, 2, 2);

        /* Nor does it make room twice. */
        peers_connect(&peers, port, UNACKNOWLEDGED_MAX + 1);
        take(f, 3, UNACKNOWLEDGED_MAX);
        settle(f);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);
        peers_done(&peers);
}

TEST("serials that were not sent are refused") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        Peers peers = {};

        assert_not_acknowledged(f, listener, 0, SD_BUS_ERROR_INVALID_ARGS);
        assert_not_acknowledged(f, listener, 1, SD_BUS_ERROR_INVALID_ARGS);

        peers_connect(&peers, test_get_port(f->client, listener), 2);
        take(f, 1, 2);
        assert_not_acknowledged(f, listener, 0, SD_BUS_ERROR_INVALID_ARGS);
        assert_not_acknowledged(f, listener, 3, SD_BUS_ERROR_INVALID_ARGS);
        assert_not_acknowledged(f, listener, UINT64_MAX, SD_BUS_ERROR_INVALID_ARGS);
        assert_counters(f, listener, 2, 0);
        acknowledge(f->client, listener, 2);
        assert_counters(f, listener, 2, 2);
        peers_done(&peers);
}

TEST("without the option it is the wrong delivery") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        Peers peers = {};

        assert_not_acknowledged(f, listener, 1, WRONG_DELIVERY);
        peers_connect(&peers, test_get_port(f->client, listener), 1);
        take(f, 1, 1);
        assert_not_acknowledged(f, listener, 1, WRONG_DELIVERY);
        assert_not_acknowledged(f, listener, 0, WRONG_DELIVERY);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        peers_done(&peers);
}

/* What one has left unacknowledged is its own affair. */
TEST("listeners share neither room nor serials") {
        g_autofree char *a = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        g_autofree char *b = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, a), UNACKNOWLEDGED_MAX + 1);
        take(f, 1, UNACKNOWLEDGED_MAX);
        assert_not_acknowledged(f, b, 1, SD_BUS_ERROR_INVALID_ARGS);

        peers_connect(&peers, test_get_port(f->client, b), 1);
        take(f, 1, 1);
        acknowledge(f->client, b, 1);
        settle(f);
        assert_counters(f, a, UNACKNOWLEDGED_MAX, 0);
        assert_counters(f, b, 1, 1);

        acknowledge(f->client, a, 1);
        take(f, UNACKNOWLEDGED_MAX + 1, 1);
        assert_counters(f, a, UNACKNOWLEDGED_MAX + 1, 1);
        assert_counters(f, b, 1, 1);
        peers_done(&peers);
}

/* A client may use both kinds at once: the answer to a Ping is for the one, not for the other. */
TEST("both kinds side by side") {
        g_autofree char *asked = test_listen(f->client, 0, -1, NULL);
        g_autofree char *told = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, told), 1);
        take(f, 1, 1);
        peers_connect(&peers, test_get_port(f->client, asked), 1);
        take(f, 1, 1);
        test_wait_for(test_get_u64(f->client, asked, "Delivered") == 1);
        settle(f);
        assert_counters(f, told, 1, 0);
        acknowledge(f->client, told, 1);
        assert_counters(f, told, 1, 1);
        peers_done(&peers);
}

/* The more listeners a user has, the less each of them may leave. */
TEST("a user's listeners share what the user may leave") {
        g_autofree char *listener = NULL, *sibling = NULL;
        Peers peers = {};

        for (unsigned i = 0; i < 126; i++)
                g_free(test_listen(f->client, 0, -1, NULL));
        sibling = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);

        peers_connect(&peers, test_get_port(f->client, listener), 10);
        take(f, 1, 1024 / 128);
        settle(f);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        assert_counters(f, listener, 1024 / 128, 0);

        /* But none waits for another one. */
        peers_connect(&peers, test_get_port(f->client, sibling), 1);
        take(f, 1, 1);
        acknowledge(f->client, listener, 2);
        take(f, 1024 / 128 + 1, 2);
        peers_done(&peers);
}

/* What was not acknowledged when the listener ended does not hold the client's credit for ever. */
TEST("the end of a listener leaves room for others") {
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
                Peers peers = {};

                peers_connect(&peers, test_get_port(f->client, listener), UNACKNOWLEDGED_MAX);
                take(f, 1, UNACKNOWLEDGED_MAX);
                test_listener_call(f->client, listener, "Close");
                peers_done(&peers);
        }
}
