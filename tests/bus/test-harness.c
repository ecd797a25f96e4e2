/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The harness itself, on both buses and without the daemon: a client takes the service's name and its part.
 * Proves the assumptions of other tests, such as the uid of a client. */

#include <arpa/inet.h>
#include <netinet/in.h>

#include "bus/fixture.h"

typedef struct Harness {
        TestBus *bus;
        TestClient *service;
        TestClient *client;
} Harness;

static void set_up(Harness *h, const void *data) {
        h->bus = test_bus_new(NULL);
        h->service = test_client_new_full(h->bus, (uid_t) -1, TEST_CLIENT_NO_MATCH);
        test_call_driver(h->service, "RequestName", "su", TEST_BUS_NAME, 0);
        h->client = test_client_new(h->bus, (uid_t) -1);
}

static void tear_down(Harness *h, const void *data) {
        test_client_free(h->client);
        test_client_free(h->service);
        test_bus_free(h->bus);
}

static void send_accepted(Harness *h, uint64_t serial, int fd) {
        g_autoptr(sd_bus_message) signal = NULL;

        must(sd_bus_message_new_signal(test_client_bus(h->service), &signal, TEST_MANAGER_PATH,
                                       TEST_MANAGER_INTERFACE, "AcceptSocket"));
        must(sd_bus_message_append(signal, "ohsqa{sv}", TEST_MANAGER_PATH "/listener/1", fd, "192.0.2.7",
                                   4711, 4, "serial", "t", serial, "localAddress", "s", "::", "localPort",
                                   "q", 80, "binaryType", "s", "string"));
        must(sd_bus_send_to(test_client_bus(h->service), signal, test_client_name(h->client), NULL));
}

static TestCall *ping(Harness *h) {
        sd_bus_message *message = NULL;

        must(sd_bus_message_new_method_call(test_client_bus(h->service), &message,
                                            test_client_name(h->client), "/", "org.freedesktop.DBus.Peer",
                                            "Ping"));
        return test_call_start(h->service, message);
}

#define TEST_HERE(sentence) TEST_OF(sentence, Harness, h, set_up, tear_down, NULL)

TEST_OF_IF(test_require_root(), "a client has the uid it claims", Harness, h, set_up, tear_down, NULL) {
        sd_bus_message *message = NULL;
        uint32_t uid;

        g_autoptr(TestClient) other = test_client_new(h->bus, test_other_uid(0));
        must(sd_bus_message_new_method_call(test_client_bus(h->client), &message, "org.freedesktop.DBus",
                                            "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                            "GetConnectionUnixUser"));
        must(sd_bus_message_append(message, "s", test_client_name(other)));
        g_autoptr(TestCall) call = test_call_start(h->client, message);
        must(sd_bus_message_read(test_call_wait(call), "u", &uid));
        g_assert_cmpuint(uid, ==, test_other_uid(0));
        g_assert_cmpuint(geteuid(), ==, 0);
}

TEST_HERE("a client does not receive messages to another client") {
        g_autoptr(TestClient) third = test_client_new(h->bus, (uid_t) -1);

        test_client_match_everything(third);
        send_accepted(h, 1, STDERR_FILENO);
        test_client_sync(h->service);
        test_client_sync(third);
        test_accepted_free(test_client_wait_accepted(h->client));
        g_assert_cmpuint(test_client_count_signals(third, NULL), ==, 0);
}

TEST_HERE("a stalled client neither reads nor answers") {
        test_client_set_stalled(h->client, true);
        send_accepted(h, 1, STDERR_FILENO);
        g_autoptr(TestCall) first = ping(h);
        /* Behind the Ping on the way to the bus, so the bus has passed that on. */
        test_client_sync(h->service);
        test_process_pending();
        g_assert_cmpuint(test_client_count_accepted(h->client), ==, 0);
        g_assert_false(test_call_is_done(first));

        test_client_set_stalled(h->client, false);
        test_accepted_free(test_client_wait_accepted(h->client));
        g_assert_null(test_call_error(first));
}

TEST_HERE("a silent client answers no Ping") {
        test_client_set_silent(h->client, true);
        g_autoptr(TestCall) first = ping(h);
        test_client_sync(h->service);
        send_accepted(h, 1, STDERR_FILENO);
        test_accepted_free(test_client_wait_accepted(h->client));
        g_assert_false(test_call_is_done(first));

        test_client_set_silent(h->client, false);
        g_autoptr(TestCall) second = ping(h);
        g_assert_null(test_call_error(second));
}

TEST_HERE("a client that takes no descriptors is sent none") {
        test_client_free(h->client);
        h->client = test_client_new_full(h->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);
        send_accepted(h, 1, STDERR_FILENO);
        test_client_sync(h->service);
        test_client_sync(h->client);
        g_assert_cmpuint(test_client_count_signals(h->client, NULL), ==, 0);
}
