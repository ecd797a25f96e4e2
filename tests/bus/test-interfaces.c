/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Network interfaces that go and come while listeners depend on them. */

#include <linux/netlink.h>

#include "bus/fixture.h"

#define VPN "vpn0"
#define VPN_INDEX "4711"
#define VPN_LINK_LOCAL "fe80::7"

/* With this index, which the kernel does not give by itself. */
static void add_interface(const char *name) {
        g_autofree char *add = g_strdup_printf("link add %s index " VPN_INDEX " type veth peer name peer0",
                                               name),
                        *address = g_strdup_printf("addr add " VPN_LINK_LOCAL "/64 dev %s nodad", name),
                        *up = g_strdup_printf("link set %s up", name);

        test_network_ip(add);
        test_network_ip(address);
        test_network_ip(up);
}

static void remove_interface(const char *name) {
        g_autofree char *words = g_strdup_printf("link del %s", name);

        test_network_ip(words);
}

static char *listen_on(TestClient *client, const char *interface) {
        return test_listen(client, 0, -1, "interface", "s", interface, NULL);
}

static void expect_lost(TestClient *client, const char *listener, const char *interface) {
        g_autoptr(TestError) error = test_client_wait_error(client);
        g_autofree char *identity = g_strdup_printf("[interface-gone interface=%s]", interface);

        g_assert_cmpstr(error->listener, ==, listener);
        if (!strstr(error->message, identity))
                g_error("\"%s\" does not end with %s", error->message, identity);

        g_autoptr(TestNotice) closed = test_client_wait_closed(client);
        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, "interface");
        g_assert_cmpuint(closed->order, >, error->order);
        test_assert_text(test_listener_call_fails(client, listener, "Pause"), SD_BUS_ERROR_UNKNOWN_OBJECT);
}

static void assert_stays(TestClient *client, const char *listener) {
        /* By the second answer, the service has looked at all that came before. */
        test_client_sync_service(client);
        test_client_sync_service(client);
        g_assert_cmpuint(test_get_port(client, listener), >, 0);
}

TEST_IF(test_require_private_network(), "a listener ends with its interface, and others stay") {
        g_autofree char *outside = listen_on(f->client, TEST_INTERFACE), *inside = listen_on(f->client, "lo"),
                        *any = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, outside);

        test_assert_served_to_neighbour(f->client, outside, TEST_IPV4);
        test_network_cut_cable();
        expect_lost(f->client, outside, TEST_INTERFACE);
        g_assert_false(test_service_is_listening(f->service, port));
        assert_stays(f->client, inside);
        assert_stays(f->client, any);

        test_network_lay_cable();
        g_autofree char *again = test_listen(f->client, port, -1, "interface", "s", TEST_INTERFACE, NULL);
        test_assert_served_to_neighbour(f->client, again, TEST_IPV4);
        assert_stays(f->client, again);
}

TEST_IF(test_require_private_network(), "a listener ends with the interface of its scope") {
        add_interface(VPN);
        g_autofree char *scoped = test_listen(f->client, 0, -1, "localAddress", "s", VPN_LINK_LOCAL "%" VPN,
                                              NULL);
        remove_interface(VPN);
        expect_lost(f->client, scoped, VPN);
}

TEST_IF(test_require_private_network(), "listeners of all deliveries end with their interface") {
        static const char *const deliveries[] = { "signal", "call", "pull", "channel", "socket" };
        TestClient *clients[ELEMENTS(deliveries)];
        char *listeners[ELEMENTS(deliveries)];

        add_interface(VPN);
        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                clients[i] = test_client_new(f->bus, (uid_t) -1);
                listeners[i] = test_listen(clients[i], 0, -1, "interface", "s", VPN, "delivery", "s",
                                           deliveries[i], NULL);
        }
        _cleanup_close_ int taken = test_listener_call_fd(clients[4], listeners[4], "TakeSocket");
        _cleanup_close_ int channel = test_listener_call_fd(clients[3], listeners[3], "OpenChannel");
        remove_interface(VPN);
        for (size_t i = 0; i < ELEMENTS(deliveries); i++)
                expect_lost(clients[i], listeners[i], VPN);

        /* The socket is revoked after the grace period. */
        g_assert_cmpint(test_wait_fd(taken, POLLIN), !=, 0);
        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                test_client_free(clients[i]);
                g_free(listeners[i]);
        }
}

TEST_IF(test_require_private_network(), "a persistent listener without an owner ends with its interface") {
        add_interface(VPN);
        TestClient *owner = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(owner, 0, -1, "interface", "s", VPN, TEST_PERSISTENT, NULL);
        test_client_free(owner);
        test_wait_for(!test_has_owner(f->client, listener));

        remove_interface(VPN);
        test_wait_for(test_service_has_logged(f->service, "interface " VPN " is gone"));
        test_assert_text(test_listener_call_fails(f->client, listener, "Adopt"), SD_BUS_ERROR_UNKNOWN_OBJECT);
}

/* The socket would accept on the new interface. */
TEST_IF(test_require_private_network(), "a listener does not pass to another interface with the same index") {
        add_interface(VPN);
        g_autofree char *listener = listen_on(f->client, VPN);
        remove_interface(VPN);
        add_interface("other0");
        expect_lost(f->client, listener, VPN);
        remove_interface("other0");
}

TEST_IF(test_require_private_network(), "a listener keeps an interface that is renamed") {
        g_autofree char *listener = listen_on(f->client, TEST_INTERFACE);
        test_network_rename(TEST_INTERFACE, "renamed0");
        test_assert_served_to_neighbour(f->client, listener, TEST_IPV4);
        assert_stays(f->client, listener);
        test_network_rename("renamed0", TEST_INTERFACE);
        test_assert_served_to_neighbour(f->client, listener, TEST_IPV4);
        assert_stays(f->client, listener);
}

TEST_IF(test_require_private_network(), "a listener keeps an interface that goes down or leaves a bridge") {
        add_interface(VPN);
        g_autofree char *listener = listen_on(f->client, VPN);
        test_network_ip("link set " VPN " down");
        test_network_ip("link set " VPN " up");
        test_network_ip("link add bridge0 type bridge");
        test_network_ip("link set " VPN " master bridge0");
        test_network_ip("link set " VPN " nomaster");
        test_network_ip("link del bridge0");
        assert_stays(f->client, listener);
        remove_interface(VPN);
        expect_lost(f->client, listener, VPN);
}

TEST_IF(test_require_private_network(), "a listener ends when its interface moves to another namespace") {
        add_interface(VPN);
        g_autofree char *listener = listen_on(f->client, VPN);
        test_network_give_away(VPN);
        expect_lost(f->client, listener, VPN);
        remove_interface("peer0");
}

/* A row of the netlink sockets of the service; false if it has none. */
static bool find_watch(TestService *service, unsigned *ret_drops) {
        g_autofree char *path = g_strdup_printf("/proc/%d/net/netlink", (int) test_service_pid(service));
        g_autofree char *content = test_read_file(path);
        g_auto(GStrv) lines = g_strsplit(content, "\n", -1);

        for (char **line = lines + 1; *line; line++) {
                unsigned protocol, port, groups, drops;

                if (sscanf(*line, "%*s %u %u %x %*s %*s %*s %*s %u", &protocol, &port, &groups, &drops) ==
                                    4 &&
                    protocol == NETLINK_ROUTE && port == (unsigned) test_service_pid(service)) {
                        if (ret_drops)
                                *ret_drops = drops;
                        return true;
                }
        }
        return false;
}

TEST_IF(test_require_private_network(),
        "the service watches interfaces only while a listener depends on one") {
        add_interface(VPN);
        unsigned fds = test_service_count_fds(f->service);
        g_autofree char *any = test_listen(f->client, 0, -1, NULL);
        g_assert_false(find_watch(f->service, NULL));
        g_autofree char *first = listen_on(f->client, VPN), *second = listen_on(f->client, "lo");
        g_assert_true(find_watch(f->service, NULL));

        test_listener_call(f->client, second, "Close");
        test_client_expect_closed(f->client, second, "owner");
        g_assert_true(find_watch(f->service, NULL));
        remove_interface(VPN);
        expect_lost(f->client, first, VPN);
        g_assert_false(find_watch(f->service, NULL));
        test_listener_call(f->client, any, "Close");
        test_client_expect_closed(f->client, any, "owner");
        test_wait_for(test_service_count_fds(f->service) == fds);

        g_free(test_listen_fails(f->client, NULL, 0, -1, "interface", "s", VPN, NULL));
        g_assert_false(find_watch(f->service, NULL));
}

TEST_IF(test_require_private_network(), "changes of other interfaces do not wake the service up") {
        g_autofree char *listener = listen_on(f->client, TEST_INTERFACE);

        test_settle(f->client);
        uint64_t waits = test_service_count_waits(f->service);
        for (unsigned n = 0; n < 50; n++) {
                add_interface(VPN);
                remove_interface(VPN);
        }
        g_assert_cmpuint(test_service_count_waits(f->service), <, waits + 20);
        assert_stays(f->client, listener);
}

/* More than the filter of the socket has. */
TEST_IF(test_require_private_network(), "a listener ends with its interface among many") {
        for (unsigned i = 0; i < 70; i++) {
                g_autofree char *name = g_strdup_printf("many%u", i),
                                *add = g_strdup_printf("link add %s group 7 type veth peer name other%u",
                                                       name, i);

                test_network_ip(add);
                g_free(listen_on(f->client, name));
        }
        add_interface(VPN);
        g_autofree char *listener = listen_on(f->client, VPN),
                        *staying = listen_on(f->client, TEST_INTERFACE);
        remove_interface(VPN);
        expect_lost(f->client, listener, VPN);

        test_network_ip("link del group 7");
        for (unsigned i = 0; i < 70; i++) {
                test_error_free(test_client_wait_error(f->client));
                test_client_expect_closed(f->client, NULL, "interface");
        }
        assert_stays(f->client, staying);
}

/* Until messages about the interface are lost. */
static void overflow(TestService *service, const char *interface) {
        unsigned drops = 0;

        for (unsigned n = 0; drops == 0; n++) {
                g_autofree char *words = g_strdup_printf("link set %s alias %u", interface, n);

                test_network_ip(words);
                g_assert_true(find_watch(service, &drops));
        }
}

TEST_IF(test_require_private_network(), "the service looks at the interfaces again when messages were lost") {
        add_interface(VPN);
        g_autofree char *going = listen_on(f->client, VPN), *also = listen_on(f->client, VPN),
                        *staying = listen_on(f->client, TEST_INTERFACE);

        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        overflow(f->service, VPN);
        remove_interface(VPN);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
        expect_lost(f->client, going, VPN);
        expect_lost(f->client, also, VPN);
        assert_stays(f->client, staying);

        /* The index belongs to another interface. */
        add_interface(VPN);
        g_autofree char *again = listen_on(f->client, VPN);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        overflow(f->service, VPN);
        remove_interface(VPN);
        add_interface("other0");
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
        expect_lost(f->client, again, VPN);
        assert_stays(f->client, staying);
        remove_interface("other0");
}

/* As a drop-in for the unit that does not allow AF_NETLINK. */
static void take_netlink_away(void *data) {
        g_assert_no_errno(test_filter_socket(AF_NETLINK));
}

static const FixtureOptions without_netlink = { .service.setup = take_netlink_away };

TEST_ON("without rtnetlink, Listen on an interface fails", &without_netlink) {
        if (!test_can_filter_socket())
                return;

        test_assert_text(test_listen_fails(f->client, NULL, 0, -1, "interface", "s", "lo", NULL),
                         SD_BUS_ERROR_FAILED);
        g_assert_true(test_service_has_logged(f->service, "RestrictAddressFamilies="));
        g_free(test_listen(f->client, 0, -1, NULL));
}
