/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Ports, backlogs, and their errors. */

#include <netinet/in.h>
#include <stdlib.h>

#include "bus/fixture.h"

/* The resources of the service without a listener. */
static unsigned count_fds(Fixture *f) {
        test_client_sync_service(f->client);
        return test_service_count_fds(f->service);
}

static void assert_names(const char *text, const char *word) {
        if (!strstr(text, word))
                g_error("\"%s\" does not name %s", text, word);
}

static void assert_error(Fixture *f,
                         const char *error,
                         const char *expected,
                         const char *text,
                         const char *word) {
        g_assert_cmpstr(error, ==, expected);
        assert_names(text, word);
        g_assert_cmpstr(text, !=, "");
}

TEST("the kernel chooses a port for -1 and 0") {
        for (int requested = -1; requested <= 0; requested++) {
                g_autofree char *listener = test_listen(f->client, requested, -1, NULL);
                uint16_t port = test_get_port(f->client, listener);

                g_assert_cmpuint(port, >, 0);
                g_assert_true(test_service_is_listening(f->service, port));
                test_assert_served(f->client, listener, "::1");
                test_assert_served(f->client, listener, "127.0.0.1");
        }
}

TEST("a given port is bound") {
        static const uint16_t ports[] = { 1, 80, 65535 };
        uint16_t free_port = test_free_port();

        g_autofree char *listener = test_listen(f->client, free_port, -1, NULL);
        g_assert_cmpuint(test_get_port(f->client, listener), ==, free_port);
        test_assert_served(f->client, listener, "::1");

        /* In this network they are free. */
        if (!test_require_private_network())
                return;
        for (size_t i = 0; i < ELEMENTS(ports); i++) {
                g_free(listener);
                listener = test_listen(f->client, ports[i], -1, NULL);
                g_assert_cmpuint(test_get_port(f->client, listener), ==, ports[i]);
                test_assert_served(f->client, listener, "::1");
        }
}

TEST("ports and backlogs out of range are refused") {
        static const int ports[] = { -2, 65536, INT32_MIN, INT32_MAX, 65536 + 80 };
        static const int backlogs[] = { -2, INT32_MIN };
        unsigned n_fds = count_fds(f);

        for (size_t i = 0; i < ELEMENTS(ports); i++) {
                g_autofree char *text = NULL;
                g_autofree char *error = test_listen_fails(f->client, &text, ports[i], -1, NULL);

                assert_error(f, error, SD_BUS_ERROR_INVALID_ARGS, text, "localPort");
                g_assert_cmpuint(count_fds(f), ==, n_fds);
        }
        for (size_t i = 0; i < ELEMENTS(backlogs); i++) {
                uint16_t port = test_free_port();
                g_autofree char *text = NULL;
                g_autofree char *error = test_listen_fails(f->client, &text, port, backlogs[i], NULL);

                assert_error(f, error, SD_BUS_ERROR_INVALID_ARGS, text, "backlog");
                g_assert_false(test_service_is_listening(f->service, port));
                g_assert_cmpuint(count_fds(f), ==, n_fds);
        }
}

static int get_somaxconn(void) {
        g_autofree char *content = test_read_file("/proc/sys/net/core/somaxconn");
        return atoi(content);
}

TEST("the backlog is at most somaxconn") {
        int most = get_somaxconn();
        const struct {
                int requested;
                int in_force;
        } backlogs[] = {
                { -1, most },        { 0, 0 }, { 1, 1 }, { 5, 5 }, { most, most }, { most + 1, most },
                { INT32_MAX, most },
        };

        g_assert_cmpint(most, >, 5);
        for (size_t i = 0; i < ELEMENTS(backlogs); i++) {
                g_autofree char *listener = test_listen(f->client, 0, backlogs[i].requested, NULL);
                uint16_t port = test_get_port(f->client, listener);

                g_assert_cmpuint(test_get_u64(f->client, listener, "Backlog"), ==, backlogs[i].in_force);
                g_assert_cmpuint(test_service_get_backlog(f->service, port), ==, backlogs[i].in_force);
                test_assert_served(f->client, listener, "::1");
        }
}

/* The kernel queues one connection more than the backlog. */
TEST("a full backlog takes no more, and is delivered in order after Resume") {
        g_autofree char *listener = test_listen(f->client, 0, 2, TEST_PAUSED, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_(peers_done) Peers peers = {};

        peers_connect(&peers, port, 3);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 3);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ETIMEDOUT);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);

        test_listener_call(f->client, listener, "Resume");
        peers_take(&peers, f->client, 1, 3);
}

static void assert_in_use(Fixture *f, TestClient *client, const char *address, uint16_t port) {
        unsigned n_fds = count_fds(f);
        g_autofree char *text = NULL, *number = g_strdup_printf("%u", port);
        g_autofree char *identity = g_strdup_printf(" [port-in-use port=%u address=%s]", port, address);
        g_autofree char *error = test_listen_fails(client, &text, port, -1, "localAddress", "s", address,
                                                   NULL);

        assert_error(f, error, SD_BUS_ERROR_ADDRESS_IN_USE, text, number);
        assert_names(text, address);
        g_assert_true(g_str_has_suffix(text, identity));
        g_assert_cmpuint(count_fds(f), ==, n_fds);
}

TEST("another listener's port is in use") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        _cleanup_close_ int before = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        assert_in_use(f, other, "::", port);
        assert_in_use(f, f->client, "::", port);
        assert_in_use(f, other, "0.0.0.0", port);
        assert_in_use(f, other, "127.0.0.1", port);
        assert_in_use(f, other, "::1", port);

        test_assert_connected(before, accepted->socket);
        test_assert_served(f->client, listener, "::1");
        test_assert_served(f->client, listener, "127.0.0.1");
        test_client_sync(other);
        g_assert_cmpuint(test_client_count_signals(other, NULL), ==, 0);

        test_listener_call(f->client, listener, "Close");
        g_autofree char *again = test_listen(other, port, -1, NULL);
        test_assert_served(other, again, "::1");
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
}

TEST("a port of another program is in use") {
        _cleanup_close_ int stranger = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), peer = -EBADF;
        struct sockaddr_in6 any = { .sin6_family = AF_INET6 };

        g_assert_no_errno(bind(stranger, (struct sockaddr *) &any, sizeof(any)));
        g_assert_no_errno(listen(stranger, 1));
        uint16_t port = test_local_port(stranger);
        assert_in_use(f, f->client, "::", port);
        assert_in_use(f, f->client, "127.0.0.1", port);

        peer = test_connect("::1", port);
        _cleanup_close_ int accepted = accept4(stranger, NULL, NULL, SOCK_CLOEXEC);
        test_assert_connected(peer, accepted);
}

TEST_IF(test_require_private_network(), "the end of the kernel's ports is named as such") {
        static const char *const reserved[] = { "", "60000-60001" };
        g_autofree char *range = test_read_file("/proc/sys/net/ipv4/ip_local_port_range");

        test_network_set("ipv4/ip_local_port_range", "60000 60001");
        for (size_t i = 0; i < ELEMENTS(reserved); i++) {
                g_autofree char *text = NULL, *a = NULL, *b = NULL, *error = NULL;

                test_network_set("ipv4/ip_local_reserved_ports", *reserved[i] ? reserved[i] : "\n");
                if (i == 0) {
                        a = test_listen(f->client, 0, -1, NULL);
                        b = test_listen(f->client, 0, -1, NULL);
                }
                error = test_listen_fails(f->client, &text, 0, -1, NULL);
                assert_error(f, error, SD_BUS_ERROR_ADDRESS_IN_USE, text, "net.ipv4.ip_local_port_range");
                g_assert_true(g_str_has_suffix(text, " [no-port-left address=::]"));
                if (i == 0) {
                        test_listener_call(f->client, a, "Close");
                        test_listener_call(f->client, b, "Close");
                        g_free(test_listen(f->client, 0, -1, NULL));
                }
        }
        test_network_set("ipv4/ip_local_reserved_ports", "\n");
        test_network_set("ipv4/ip_local_port_range", range);
}

static uint32_t get_limit(Fixture *f, const char *name) {
        g_autoptr(sd_bus_message)
                        reply = test_call(f->client, TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties",
                                          "Get", "ss", TEST_MANAGER_INTERFACE, name);
        uint32_t limit;

        g_assert_cmpint(sd_bus_message_read(reply, "v", "u", &limit), >, 0);
        return limit;
}

TEST("MaxListenersPerUser limits the listeners of a user") {
        uint32_t limit = get_limit(f, "MaxListenersPerUser");
        g_autofree char *number = g_strdup_printf("%u", limit), *listener = NULL, *path = NULL;
        g_autoptr(TestClient) second = test_client_new(f->bus, (uid_t) -1);
        unsigned n_fds;

        if (!test_require_descriptors(limit + 256))
                return;

        /* Over all of the user's connections. */
        for (uint32_t i = 0; i < limit; i++) {
                g_free(listener);
                listener = test_listen(i % 2 == 0 ? f->client : second, 0, -1, NULL);
        }

        for (unsigned i = 0; i < 2; i++) {
                TestClient *client = i == 0 ? f->client : second;
                uint16_t port = test_free_port();
                g_autofree char *text = NULL;

                n_fds = count_fds(f);
                g_autofree char *error = test_listen_fails(client, &text, port, -1, NULL);

                assert_error(f, error, SD_BUS_ERROR_LIMITS_EXCEEDED, text, "MaxListenersPerUser");
                assert_names(text, number);
                g_assert_false(test_service_is_listening(f->service, port));
                g_assert_cmpuint(count_fds(f), ==, n_fds);
        }

        test_listener_call(second, listener, "Close");
        path = test_listen(f->client, 0, -1, NULL);
        test_assert_served(f->client, path, "::1");
        g_free(test_listen_fails(f->client, NULL, 0, -1, NULL));

        /* The end of a client gives back everything. */
        n_fds = count_fds(f);
        g_clear_pointer(&second, test_client_free);
        test_wait_for(test_service_count_fds(f->service) == n_fds - (limit / 2 - 1));
        for (uint32_t i = 0; i < limit / 2 - 1; i++)
                g_free(test_listen(f->client, 0, -1, NULL));
}

/* Calls that fail for another reason do not count. */
TEST("failed calls do not count against the limit") {
        uint32_t limit = get_limit(f, "MaxListenersPerUser");
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);

        for (uint32_t i = 0; i < limit; i++) {
                test_assert_text(test_listen_fails(f->client, NULL, port, -1, NULL),
                                 SD_BUS_ERROR_ADDRESS_IN_USE);
        }
        g_free(test_listen(f->client, 0, -1, NULL));
}

TEST("a listener in its grace period counts against the limit") {
        uint32_t limit = get_limit(f, "MaxListenersPerUser");
        g_autoptr(TestClient) second = test_client_new(f->bus, (uid_t) -1);

        if (!test_require_descriptors(limit + 256))
                return;

        for (uint32_t i = 0; i < limit - 1; i++)
                g_free(test_listen(f->client, 0, -1, NULL));
        g_autofree char *taken = test_listen(f->client, 0, -1, TEST_SOCKET, TEST_PERSISTENT, NULL);
        _cleanup_close_ int socket = test_listener_call_fd(f->client, taken, "TakeSocket");

        g_autoptr(TestCall) close = test_call_start(
                        second, test_message_new(second, taken, TEST_LISTENER_INTERFACE, "Close"));
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
        test_assert_text(test_listen_fails(f->client, NULL, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);
        (void) test_call_wait(close);
        g_free(test_listen(f->client, 0, -1, NULL));
}

TEST_IF(test_require_root(), "another user is denied") {
        g_autofree char *text = NULL;
        uint16_t port = test_free_port();

        g_autoptr(TestClient) stranger = test_client_new(f->bus, test_other_uid(0));
        unsigned n_fds = count_fds(f);
        g_autofree char *error = test_listen_fails(stranger, &text, port, -1, NULL);
        g_assert_cmpstr(error, ==, SD_BUS_ERROR_ACCESS_DENIED);
        g_assert_cmpstr(text, !=, "");
        g_assert_false(test_service_is_listening(f->service, port));
        g_assert_cmpuint(count_fds(f), ==, n_fds);

        /* An unauthorized user does not learn which ports and addresses are in use. */
        g_autofree char *listener = test_listen(f->client, port, -1, NULL);
        g_free(error);
        error = test_listen_fails(stranger, NULL, port, -1, NULL);
        g_assert_cmpstr(error, ==, SD_BUS_ERROR_ACCESS_DENIED);
        g_free(error);
        error = test_listen_fails(stranger, NULL, 0, -1, "localAddress", "s", "192.0.2.77", NULL);
        g_assert_cmpstr(error, ==, SD_BUS_ERROR_ACCESS_DENIED);

        test_assert_text(test_listen_fails(stranger, NULL, -2, -1, NULL), SD_BUS_ERROR_INVALID_ARGS);
        test_assert_served(f->client, listener, "::1");
}
