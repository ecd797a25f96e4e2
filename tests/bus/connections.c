/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/connections.h"

#include "base/macros.h"
#include "bus/call.h"
#include "bus/loop.h"
#include "bus/net.h"

void peers_connect(Peers *peers, uint16_t port, unsigned n) {
        g_assert_cmpuint(peers->n + n, <=, ELEMENTS(peers->fds));
        for (; n > 0; n--) {
                int fd = test_connect("::1", port);

                test_send(fd, &peers->n, sizeof(peers->n));
                peers->fds[peers->n++] = fd;
        }
}

void peers_assert_connected(const Peers *peers, int fd, unsigned number) {
        unsigned received;

        test_receive(fd, &received, sizeof(received));
        g_assert_cmpuint(received, ==, number);
        test_assert_connected(fd, peers->fds[number]);
}

void peers_take(const Peers *peers, TestClient *client, uint64_t first_serial, unsigned n) {
        for (uint64_t serial = first_serial; serial < first_serial + n; serial++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);

                g_assert_cmpuint(accepted->serial, ==, serial);
                peers_assert_connected(peers, accepted->socket, (unsigned) serial - 1);
        }
}

void peers_done(Peers *peers) {
        while (peers->n > 0)
                close_fd(peers->fds[--peers->n]);
}

int test_connect_and_say(uint16_t port, const char *text) {
        int peer = test_connect("::1", port);

        test_send(peer, text, strlen(text));
        return peer;
}

void test_assert_served(TestClient *client, const char *listener, const char *address) {
        _cleanup_close_ int peer = test_connect(address, test_get_port(client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);

        g_assert_cmpstr(accepted->listener, ==, listener);
        g_assert_cmpuint(accepted->local_port, ==, test_remote_port(peer));
        test_assert_connected(peer, accepted->socket);
}

void test_assert_served_to_neighbour(TestClient *client, const char *listener, const char *address) {
        _cleanup_close_ int peer = test_connect_from_neighbour(address, test_get_port(client, listener));

        test_client_expect_peer(client, listener, peer);
}

void test_settle(TestClient *client) {
        for (unsigned i = 0; i < 6; i++)
                test_client_sync_service(client);
}

void test_acknowledge(TestClient *client, const char *listener, uint64_t serial) {
        sd_bus_message_unref(
                        test_call(client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t", serial));
}

void test_assert_counters(TestClient *client, const char *listener, uint64_t accepted, uint64_t delivered) {
        test_wait_for(test_get_u64(client, listener, "Delivered") == delivered);
        g_assert_cmpuint(test_get_u64(client, listener, "Accepted"), ==, accepted);
        g_assert_cmpuint(test_get_u64(client, listener, "Lost"), ==, 0);
}

unsigned test_get_window(void) {
        /* On dbus-broker, the descriptor in the first Ping is not known to be read. */
        return test_bus_is_broker() ? 20 - 1 : 17;
}

void test_clog(TestClient *client, TestBus *bus) {
        static const char padding[64 * 1024];
        g_autoptr(TestClient) sender = test_client_new(bus, (uid_t) -1);

        test_client_set_stalled(client, true);
        for (unsigned i = 0; i < 8; i++) {
                g_autoptr(sd_bus_message) message = NULL;

                must(sd_bus_message_new_signal(test_client_bus(sender), &message, "/test", "test.Test",
                                               "Test"));
                must(sd_bus_message_set_destination(message, test_client_name(client)));
                must(sd_bus_message_append_array(message, 'y', padding, sizeof(padding)));
                must(sd_bus_send(test_client_bus(sender), message, NULL));
        }
        test_client_sync(sender);
}
