/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The option acknowledge. */

#include "bus/fixture.h"

/* The limit of unacknowledged connections for each listener, independent of the client's window. */
#define UNACKNOWLEDGED_MAX 16

static void assert_not_acknowledged(Fixture *f, const char *listener, uint64_t serial, const char *expected) {
        g_autofree char *message = NULL;

        test_assert_text(test_call_fails(f->client, &message, listener, TEST_LISTENER_INTERFACE,
                                         "Acknowledge", "t", serial),
                         expected);
        g_assert_nonnull(strstr(message, streq(expected, TEST_WRONG_DELIVERY) ? "acknowledge" : "serial"));
}

TEST("without the option, connections are delivered without a call") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", false, NULL);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, test_get_port(f->client, listener), 1);
        peers_take(&peers, f->client, 1, 1);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        test_assert_counters(f->client, listener, 1, 1);
}

TEST("with the option, a call confirms connections") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, 3);
        peers_take(&peers, f->client, 1, 3);
        test_settle(f->client);
        test_assert_counters(f->client, listener, 3, 0);

        test_acknowledge(f->client, listener, 3);
        test_assert_counters(f->client, listener, 3, 3);
}

/* The client closes its descriptor at once, which does not end the connection. */
TEST("the service keeps its descriptor until the acknowledgement") {
        unsigned n_fds = test_service_count_fds(f->service) + 1;
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_(peers_done) Peers peers = {};

        test_settle(f->client);
        peers_connect(&peers, test_get_port(f->client, listener), 2);
        peers_take(&peers, f->client, 1, 2);
        test_wait_for(test_service_count_fds(f->service) == n_fds + 2);
        test_acknowledge(f->client, listener, 1);
        g_assert_cmpuint(test_service_count_fds(f->service), ==, n_fds + 1);
        test_acknowledge(f->client, listener, 2);
        g_assert_cmpuint(test_service_count_fds(f->service), ==, n_fds);
        /* It was the last copy. */
        g_assert_cmpint(test_wait_end(peers.fds[0]), ==, 0);
        g_assert_cmpint(test_wait_end(peers.fds[1]), ==, 0);
}

TEST("an acknowledgement makes room for all connections up to its serial") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, UNACKNOWLEDGED_MAX + 4);
        peers_take(&peers, f->client, 1, UNACKNOWLEDGED_MAX);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 4);
        test_assert_counters(f->client, listener, UNACKNOWLEDGED_MAX, 0);

        /* Up to one, not from one. */
        test_acknowledge(f->client, listener, 3);
        peers_take(&peers, f->client, UNACKNOWLEDGED_MAX + 1, 3);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);
        test_assert_counters(f->client, listener, UNACKNOWLEDGED_MAX + 3, 3);

        test_acknowledge(f->client, listener, UNACKNOWLEDGED_MAX + 3);
        peers_take(&peers, f->client, UNACKNOWLEDGED_MAX + 4, 1);
        test_assert_counters(f->client, listener, UNACKNOWLEDGED_MAX + 4, UNACKNOWLEDGED_MAX + 3);
}

TEST("a repeated acknowledgement has no effect") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, 2);
        peers_take(&peers, f->client, 1, 2);
        test_acknowledge(f->client, listener, 2);
        test_acknowledge(f->client, listener, 2);
        test_acknowledge(f->client, listener, 1);
        test_assert_counters(f->client, listener, 2, 2);

        /* Nor does it make room twice. */
        peers_connect(&peers, port, UNACKNOWLEDGED_MAX + 1);
        peers_take(&peers, f->client, 3, UNACKNOWLEDGED_MAX);
        test_settle(f->client);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);
}

TEST("serials that were not sent are refused") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_(peers_done) Peers peers = {};

        assert_not_acknowledged(f, listener, 0, SD_BUS_ERROR_INVALID_ARGS);
        assert_not_acknowledged(f, listener, 1, SD_BUS_ERROR_INVALID_ARGS);

        peers_connect(&peers, test_get_port(f->client, listener), 2);
        peers_take(&peers, f->client, 1, 2);
        assert_not_acknowledged(f, listener, 0, SD_BUS_ERROR_INVALID_ARGS);
        assert_not_acknowledged(f, listener, 3, SD_BUS_ERROR_INVALID_ARGS);
        assert_not_acknowledged(f, listener, UINT64_MAX, SD_BUS_ERROR_INVALID_ARGS);
        test_assert_counters(f->client, listener, 2, 0);
        test_acknowledge(f->client, listener, 2);
        test_assert_counters(f->client, listener, 2, 2);
}

TEST("Acknowledge without the option fails with WrongDelivery") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        _cleanup_(peers_done) Peers peers = {};

        assert_not_acknowledged(f, listener, 1, TEST_WRONG_DELIVERY);
        peers_connect(&peers, test_get_port(f->client, listener), 1);
        peers_take(&peers, f->client, 1, 1);
        assert_not_acknowledged(f, listener, 1, TEST_WRONG_DELIVERY);
        assert_not_acknowledged(f, listener, 0, TEST_WRONG_DELIVERY);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
}

TEST("listeners share neither room nor serials") {
        g_autofree char *a = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        g_autofree char *b = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_(peers_done) Peers peers_a = {}, peers_b = {};

        peers_connect(&peers_a, test_get_port(f->client, a), UNACKNOWLEDGED_MAX + 1);
        peers_take(&peers_a, f->client, 1, UNACKNOWLEDGED_MAX);
        assert_not_acknowledged(f, b, 1, SD_BUS_ERROR_INVALID_ARGS);

        peers_connect(&peers_b, test_get_port(f->client, b), 1);
        peers_take(&peers_b, f->client, 1, 1);
        test_acknowledge(f->client, b, 1);
        test_settle(f->client);
        test_assert_counters(f->client, a, UNACKNOWLEDGED_MAX, 0);
        test_assert_counters(f->client, b, 1, 1);

        test_acknowledge(f->client, a, 1);
        peers_take(&peers_a, f->client, UNACKNOWLEDGED_MAX + 1, 1);
        test_assert_counters(f->client, a, UNACKNOWLEDGED_MAX + 1, 1);
        test_assert_counters(f->client, b, 1, 1);
        peers_done(&peers_b);
}

TEST("listeners with and without the option do not affect each other") {
        g_autofree char *asked = test_listen(f->client, 0, -1, NULL);
        g_autofree char *told = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_(peers_done) Peers peers_asked = {}, peers_told = {};

        peers_connect(&peers_told, test_get_port(f->client, told), 1);
        peers_take(&peers_told, f->client, 1, 1);
        peers_connect(&peers_asked, test_get_port(f->client, asked), 1);
        peers_take(&peers_asked, f->client, 1, 1);
        test_wait_for(test_get_u64(f->client, asked, "Delivered") == 1);
        test_settle(f->client);
        test_assert_counters(f->client, told, 1, 0);
        test_acknowledge(f->client, told, 1);
        test_assert_counters(f->client, told, 1, 1);
        peers_done(&peers_told);
}

/* The more listeners a user has, the less each of them may leave. */
TEST("the listeners of a user share the limit of unacknowledged connections") {
        _cleanup_(peers_done) Peers peers = {}, others = {};

        for (unsigned i = 0; i < 126; i++)
                g_free(test_listen(f->client, 0, -1, NULL));
        g_autofree char *sibling = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);

        peers_connect(&peers, test_get_port(f->client, listener), 10);
        peers_take(&peers, f->client, 1, 1024 / 128);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        test_assert_counters(f->client, listener, 1024 / 128, 0);

        /* But none waits for another one. */
        peers_connect(&others, test_get_port(f->client, sibling), 1);
        peers_take(&others, f->client, 1, 1);
        test_acknowledge(f->client, listener, 2);
        peers_take(&peers, f->client, 1024 / 128 + 1, 2);
        peers_done(&others);
}

TEST("the end of a listener frees its unacknowledged connections") {
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
                Peers peers = {};

                peers_connect(&peers, test_get_port(f->client, listener), UNACKNOWLEDGED_MAX);
                peers_take(&peers, f->client, 1, UNACKNOWLEDGED_MAX);
                test_listener_call(f->client, listener, "Close");
                peers_done(&peers);
        }
}
