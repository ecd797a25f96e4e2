/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The sandbox of the unit allows what the service needs, and no more. */

#include <arpa/inet.h>

#include "base/message-ids.h"
#include "machine/machine.h"

/* A forbidden system call kills the service, in place of an error that it could ignore. */
static void forbid_the_rest(void) {
        machine_configure_unit("SystemCallErrorNumber=kill");
}

static char *get_status(const char *field) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) machine_service_pid());

        g_autofree char *content = test_read_file(path);
        const char *line = strstr(content, field);
        g_assert_nonnull(line);
        line += strlen(field) + 2;
        return g_strndup(line, strcspn(line, "\n"));
}

static void assert_status(const char *field, const char *expected) {
        test_assert_text(get_status(field), expected);
}

MACHINE_TEST("systemd-analyze finds little exposure") {
        g_free(machine_run("systemd-analyze", "security", "--no-pager", "--threshold=17", MACHINE_UNIT));
}

MACHINE_TEST("systemd-analyze verifies the unit") {
        test_assert_text(machine_run("systemd-analyze", "verify", "--man=no", MACHINE_UNIT), "");
}

MACHINE_TEST("the process has two capabilities") {
        static const char *const sets[] = { "\nCapInh", "\nCapPrm", "\nCapEff", "\nCapBnd", "\nCapAmb" };
        g_autofree char *uid = g_strdup_printf("%u\t%u\t%u\t%u", machine_uid("tcpserversocket"),
                                               machine_uid("tcpserversocket"), machine_uid("tcpserversocket"),
                                               machine_uid("tcpserversocket"));

        test_client_sync_service(m->user);
        for (size_t i = 0; i < ELEMENTS(sets); i++)
                assert_status(sets[i], "0000000000000401"); /* CAP_NET_BIND_SERVICE, CAP_CHOWN */
        assert_status("\nUid", uid);
        assert_status("\nNoNewPrivs", "1");
        assert_status("\nSeccomp", "2");
}

MACHINE_TEST("LimitNOFILE suffices for MaxListeners") {
        g_autofree char *limit = machine_get_unit("LimitNOFILE"), *soft = machine_get_unit("LimitNOFILESoft");

        /* The limit of the process is lower where the machine may not raise it. */
        g_assert_cmpstr(limit, ==, soft);
        g_assert_cmpuint(g_ascii_strtoull(limit, NULL, 10), >=,
                         8 * test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners"));
}

/* ------------------------------------------------------------------------------ requests of clients */

MACHINE_TEST("link-local addresses work in the sandbox") {
        forbid_the_rest();
        g_autofree char *listener = test_listen(m->user, 0, -1, "localAddress", "s",
                                                TEST_LINK_LOCAL "%" TEST_INTERFACE, NULL);
        test_assert_text(test_get_string(m->user, listener, "LocalAddress"),
                         TEST_LINK_LOCAL "%" TEST_INTERFACE);
        _cleanup_close_ int peer = test_connect_from_neighbour(TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE,
                                                               test_get_port(m->user, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);
        test_assert_connected(peer, accepted->socket);
        g_assert_cmpstr(accepted->remote_address, ==, TEST_NEIGHBOUR_LINK_LOCAL "%" TEST_INTERFACE);
        g_assert_cmpstr(accepted->local_address, ==, TEST_LINK_LOCAL "%" TEST_INTERFACE);
}

MACHINE_TEST("the option interface works in the sandbox") {
        static const char *const addresses[] = { TEST_IPV4, TEST_IPV6 };

        forbid_the_rest();
        g_autofree char *listener = test_listen(m->user, 0, -1, "interface", "s", TEST_INTERFACE, NULL);
        uint16_t port = test_get_port(m->user, listener);
        for (size_t i = 0; i < ELEMENTS(addresses); i++) {
                _cleanup_close_ int peer = test_connect_from_neighbour(addresses[i], port);

                test_client_expect_peer(m->user, NULL, peer);
        }
        g_assert_cmpint(test_connect_fails("127.0.0.1", port), ==, ECONNREFUSED);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

MACHINE_TEST("interfaces are watched in the sandbox") {
        forbid_the_rest();
        test_network_ip("link add vpn0 type veth peer name peer0");
        g_autofree char *since = machine_journal_end();
        g_autofree char *listener = test_listen(m->user, 0, -1, "interface", "s", "vpn0", NULL),
                        *other = test_listen(m->user, 0, -1, "interface", "s", "lo", NULL);
        test_network_ip("link set vpn0 name vpn1");
        test_network_ip("link del vpn1");
        test_client_expect_closed(m->user, listener, "interface");
        test_assert_text(machine_journal_get(since, "INTERFACE", "MESSAGE_ID=" MESSAGE_INTERFACE_GONE_STR,
                                             NULL),
                         "vpn0");
        test_assert_served(m->user, other, "127.0.0.1");
}

static bool serves_neighbour(uint16_t port) {
        test_network_visit_neighbour();
        _cleanup_close_ int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
        char byte;

        g_assert_cmpint(inet_pton(AF_INET, TEST_IPV4, &address.sin_addr), ==, 1);
        bool served = connect(peer, (struct sockaddr *) &address, sizeof(address)) == 0 &&
                      recv(peer, &byte, 1, 0) == 1;
        test_network_return();
        return served;
}

/* As --interface= in tcpserversocketctl(1) says. */
MACHINE_TEST("systemd starts a server again when its interface comes back") {
        g_free(machine_run("systemd-run", "--unit=greeter", "--property=Restart=on-failure",
                           "--property=RestartSec=100ms", "--property=StartLimitIntervalSec=0",
                           "tcpserversocketctl", "listen", "--inetd", "--interface=" TEST_INTERFACE, "8080",
                           "--", "echo", "hello"));
        test_wait_for(serves_neighbour(8080));
        test_network_cut_cable();
        test_wait_for(machine_count_logged("This host does not have the network interface") > 1);
        test_network_lay_cable();
        test_wait_for(serves_neighbour(8080));
        g_free(machine_run("systemctl", "stop", "greeter"));
}

MACHINE_TEST("all options work in the sandbox") {
        forbid_the_rest();
        g_autofree char *listener = test_listen(
                        m->user, 0, 16, "binaryType", "s", "arraybuffer", "localAddress", "s",
                        "::", "ipv6Only", "b", false, "delivery", "s", "signal", TEST_ACKNOWLEDGE,
                        TEST_PAUSED, "nonBlocking", "b", true, "noDelay", "b", true, "keepAlive", "b", true,
                        "fastOpen", "u", 8, "allowFrom", "as", WORDS("127.0.0.0/8", "::1"), "acceptRate", "u",
                        1000, "name", "s", "every one", NULL);
        int lifeline = test_listener_call_fd(m->user, listener, "OpenLifeline");
        test_listener_call(m->user, listener, "Resume");
        test_assert_served(m->user, listener, "127.0.0.1");
        test_assert_served(m->user, listener, "::1");
        sd_bus_message_unref(test_call(m->user, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(2)));
        test_listener_call(m->user, listener, "Pause");

        (void) close_fd(lifeline);
        test_client_expect_closed(m->user, NULL, "lifeline");
}

MACHINE_TEST("IPv4 and IPv6 work in the sandbox") {
        forbid_the_rest();
        g_autofree char *ipv4 = test_listen(m->user, 0, -1, "localAddress", "s", "127.0.0.1", "deferAccept",
                                            "u", 1, NULL);
        g_autofree char *ipv6 = test_listen(m->user, 0, -1, "localAddress", "s", "::1", "ipv6Only", "b", true,
                                            NULL);
        test_assert_served(m->user, ipv6, "::1");
        test_listener_call(m->user, ipv4, "Close");
}

MACHINE_TEST("persistent listeners work in the sandbox") {
        forbid_the_rest();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(m->user, listener));
        test_accepted_free(test_client_wait_accepted(m->user));
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        g_clear_pointer(&m->user, test_client_free);

        g_autoptr(TestClient) next = machine_client_new(m, MACHINE_USER);
        test_wait_for(!test_has_owner(next, listener));
        close(peer);
        peer = test_connect("::1", test_get_port(next, listener));
        test_listener_call(next, listener, "Adopt");
        test_client_expect_peer(next, NULL, peer);
}

MACHINE_TEST("log level, reload and introspection work in the sandbox") {
        g_autofree char *end = machine_journal_end();

        forbid_the_rest();
        test_client_sync_service(m->user);
        g_free(machine_run("systemctl", "service-log-level", MACHINE_UNIT, "debug"));
        g_free(test_listen(m->user, 0, -1, NULL));
        g_free(test_listen_fails(m->user, NULL, 80, -1, NULL));
        test_wait_for(machine_journal_count(end, "PRIORITY=7", NULL) > 0);

        machine_configure("MaxListeners=7\nNonsense=1");
        g_free(machine_run("systemctl", "reload", MACHINE_UNIT));
        test_wait_for(test_get_u64(m->user, TEST_MANAGER_PATH, "MaxListeners") == 7);
        g_free(machine_run("busctl", "introspect", "org.example.TCPServerSocket",
                           "/org/example/TCPServerSocket"));
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);
        g_assert_true(test_add_neighbour());
        return test_run();
}
