/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The addresses of listeners, the peers that reach them, and the text form of both ends. */

#include <net/if.h>

#include "bus/fixture.h"

#define NOT_AVAILABLE "org.example.TCPServerSocket.Error.AddressNotAvailable"

/* Takes the connection of this peer, and compares the addresses of its two ends. */
static void assert_appears(Fixture *f, int peer, const char *remote, const char *local) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpstr(accepted->remote_address, ==, remote);
        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(peer));
        g_assert_cmpstr(accepted->local_address, ==, local);
        g_assert_cmpuint(accepted->local_port, ==, test_remote_port(peer));
        test_assert_connected(peer, accepted->socket);
}

/* Over the loopback both ends have the same address. */
static void assert_serves(Fixture *f, const char *listener, const char *address) {
        _cleanup_close_ int peer = test_connect(address, test_get_port(f->client, listener));

        assert_appears(f, peer, address, address);
}

static void assert_refuses(Fixture *f, const char *listener, const char *address) {
        uint16_t port = test_get_port(f->client, listener);

        g_assert_cmpint(test_connect_fails(address, port), ==, ECONNREFUSED);
}

static void assert_serves_neighbour(Fixture *f,
                                    const char *listener,
                                    const char *address,
                                    const char *remote,
                                    const char *local) {
        _cleanup_close_ int peer = test_connect_from_neighbour(address, test_get_port(f->client, listener));

        assert_appears(f, peer, remote, local);
}

static void assert_refuses_neighbour(Fixture *f, const char *listener, const char *address) {
        uint16_t port = test_get_port(f->client, listener);

        test_network_visit_neighbour();
        int error = test_connect_fails(address, port);
        test_network_return();
        g_assert_cmpint(error, ==, ECONNREFUSED);
}

static void assert_bound_to(Fixture *f, const char *listener, const char *address) {
        test_assert_text(test_get_string(f->client, listener, "LocalAddress"), address);
}

/* The message names the option at fault. */
static void assert_refused(const char *error, const char *message, const char *expected, const char *option) {
        g_assert_cmpstr(error, ==, expected);
        if (option && !strstr(message, option))
                g_error("this does not name %s: %s", option, message);
}

TEST("an IPv4 peer of a dual-stack listener has an IPv4 address") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);

        assert_bound_to(f, listener, "::");
        assert_serves(f, listener, "127.0.0.1");
        assert_serves(f, listener, "::1");
}

TEST_IF(test_require_private_network(), "peers on other hosts have their addresses") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        assert_serves_neighbour(f, listener, TEST_IPV4, TEST_NEIGHBOUR_IPV4, TEST_IPV4);
        assert_serves_neighbour(f, listener, TEST_IPV6, TEST_NEIGHBOUR_IPV6, TEST_IPV6);
}

TEST_IF(test_require_private_network(), "a link-local peer keeps its scope") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        assert_serves_neighbour(f, listener, TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE,
                                TEST_NEIGHBOUR_LINK_LOCAL "%" TEST_INTERFACE,
                                TEST_LINK_LOCAL "%" TEST_INTERFACE);
}

/* The three ways to say which interface it is. */
TEST_IF(test_require_private_network(), "a listener can be bound to a link-local address") {
        g_autofree char *numeric = g_strdup_printf(TEST_LINK_LOCAL "%%%u", if_nametoindex(TEST_INTERFACE));
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *listener = i == 0   ? test_listen(f->client, 0, -1, "localAddress", "s",
                                                                   TEST_LINK_LOCAL "%" TEST_INTERFACE, NULL)
                                            : i == 1 ? test_listen(f->client, 0, -1, "localAddress", "s",
                                                                   numeric, NULL)
                                                     : test_listen(f->client, 0, -1, "localAddress", "s",
                                                                   TEST_LINK_LOCAL, "interface", "s",
                                                                   TEST_INTERFACE, NULL);

                assert_bound_to(f, listener, TEST_LINK_LOCAL "%" TEST_INTERFACE);
                assert_serves_neighbour(f, listener, TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE,
                                        TEST_NEIGHBOUR_LINK_LOCAL "%" TEST_INTERFACE,
                                        TEST_LINK_LOCAL "%" TEST_INTERFACE);
                assert_refuses(f, listener, "::1");
                assert_refuses_neighbour(f, listener, TEST_IPV6);
        }
}

TEST("an address or a scope that the host does not have is refused") {
        static const struct {
                const char *address, *interface, *error, *option;
        } cases[] = {
                { TEST_LINK_LOCAL, NULL, SD_BUS_ERROR_INVALID_ARGS, "localAddress" },
                { TEST_LINK_LOCAL "%" TEST_INTERFACE, "lo", SD_BUS_ERROR_INVALID_ARGS, "localAddress" },
                { TEST_LINK_LOCAL "%" TEST_INTERFACE, "lo", SD_BUS_ERROR_INVALID_ARGS, "interface" },
                { TEST_LINK_LOCAL "%", NULL, SD_BUS_ERROR_INVALID_ARGS, "localAddress" },
                { "::1%lo", NULL, SD_BUS_ERROR_INVALID_ARGS, "localAddress" },
                { "127.0.0.1%lo", NULL, SD_BUS_ERROR_INVALID_ARGS, "localAddress" },
                { TEST_LINK_LOCAL "%missing0", NULL, NOT_AVAILABLE, NULL },
                { TEST_LINK_LOCAL, "missing0", NOT_AVAILABLE, NULL },
                { "::", "missing0", NOT_AVAILABLE, "missing0" },
                /* On this host, but not there. */
                { TEST_LINK_LOCAL "%lo", NULL, NOT_AVAILABLE, NULL },
                { "192.0.2.77", NULL, NOT_AVAILABLE, "192.0.2.77" },
                { "2001:db8::77", NULL, NOT_AVAILABLE, "2001:db8::77" },
                { "::ffff:198.51.100.1", NULL, NOT_AVAILABLE, "198.51.100.1" },
        };

        if (!test_require_private_network())
                return;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *message = NULL;
                g_autofree char *error = cases[i].interface ? test_listen_fails(f->client, &message, 80, -1,
                                                                                "localAddress", "s",
                                                                                cases[i].address, "interface",
                                                                                "s", cases[i].interface, NULL)
                                                            : test_listen_fails(f->client, &message, 80, -1,
                                                                                "localAddress", "s",
                                                                                cases[i].address, NULL);

                assert_refused(error, message, cases[i].error, cases[i].option);
                g_assert_false(test_service_is_listening(f->service, 80));
        }
}

/* A rule of polkit sees the name of the kernel, by any name that the caller uses for the interface. */
TEST_IF(test_require_private_network(), "a listener has the name that the kernel uses for its interface") {
        static const struct {
                const char *address, *interface, *expected;
        } cases[] = {
                { "::", TEST_INTERFACE, TEST_INTERFACE },
                { "::", "other-name", TEST_INTERFACE },
                { TEST_LINK_LOCAL "%other-name", "", TEST_INTERFACE },
                { TEST_LINK_LOCAL "%other-name", TEST_INTERFACE, TEST_INTERFACE },
                { "::", "lo", "lo" },
        };

        test_network_ip("link property add dev " TEST_INTERFACE " altname other-name");
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *listener = *cases[i].interface ? test_listen(f->client, 0, -1,
                                                                              "localAddress", "s",
                                                                              cases[i].address, "interface",
                                                                              "s", cases[i].interface, NULL)
                                                                : test_listen(f->client, 0, -1,
                                                                              "localAddress", "s",
                                                                              cases[i].address, NULL);

                test_assert_text(test_get_string(f->client, listener, "Interface"), cases[i].expected);
        }
        test_network_ip("link property del dev " TEST_INTERFACE " altname other-name");

        test_assert_text(test_listen_fails(f->client, NULL, 0, -1, "interface", "s", "lo:1", NULL),
                         SD_BUS_ERROR_INVALID_ARGS);
        g_autofree char *any = test_listen(f->client, 0, -1, NULL);
        test_assert_text(test_get_string(f->client, any, "Interface"), "");
}

TEST_IF(test_require_private_network(), "a listener keeps its properties when its interface is renamed") {
        g_autofree char *scoped = test_listen(f->client, 0, -1, "localAddress", "s",
                                              TEST_LINK_LOCAL "%" TEST_INTERFACE, NULL);

        test_network_rename(TEST_INTERFACE, "renamed0");
        assert_bound_to(f, scoped, TEST_LINK_LOCAL "%" TEST_INTERFACE);
        test_assert_text(test_get_string(f->client, scoped, "Interface"), TEST_INTERFACE);
        test_network_rename("renamed0", TEST_INTERFACE);
}

TEST_IF(test_require_private_network(), "with freeBind, an address may come later") {
        static const struct {
                const char *address, *add, *del;
        } cases[] = {
                { "192.0.2.99", "addr add 192.0.2.99/24 dev " TEST_INTERFACE,
                  "addr del 192.0.2.99/24 dev " TEST_INTERFACE },
                { "2001:db8::99", "addr add 2001:db8::99/64 dev " TEST_INTERFACE " nodad",
                  "addr del 2001:db8::99/64 dev " TEST_INTERFACE },
                { "fe80::99%" TEST_INTERFACE, "addr add fe80::99/64 dev " TEST_INTERFACE " nodad",
                  "addr del fe80::99/64 dev " TEST_INTERFACE },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "localAddress", "s",
                                                        cases[i].address, "freeBind", "b", true, NULL);
                g_auto(GStrv) parts = g_strsplit(cases[i].address, "%", 2);
                g_autofree char *reached = parts[1] ? g_strconcat(parts[0], "%" TEST_NEIGHBOUR_INTERFACE,
                                                                  NULL)
                                                    : g_strdup(parts[0]);

                assert_bound_to(f, listener, cases[i].address);
                test_network_ip(cases[i].add);
                test_assert_served_to_neighbour(f->client, listener, reached);
                test_network_ip(cases[i].del);
        }
}

static bool has_address_with(const char *flags) {
        g_autofree char *addresses = test_read_file("/proc/thread-self/net/if_inet6");

        return strstr(addresses, flags);
}

/* A neighbour that is busy may not answer in time. */
static void add_duplicate_address(void) {
        for (unsigned n = 0; n < 10; n++) {
                test_network_ip("addr add " TEST_NEIGHBOUR_IPV6 "/64 dev " TEST_INTERFACE);
                /* IFA_F_TENTATIVE and IFA_F_PERMANENT, and later also IFA_F_DADFAILED. */
                test_wait_for(!has_address_with(" c0 "));
                if (has_address_with(" c8 "))
                        return;
                test_network_ip("addr del " TEST_NEIGHBOUR_IPV6 "/64 dev " TEST_INTERFACE);
        }

        g_error("the kernel has not detected the duplicate address");
}

TEST_IF(test_require_private_network(), "a tentative address and a duplicate one are named as such") {
        g_autofree char *tentative = NULL, *duplicate = NULL;

        /* So many seconds. */
        test_network_set("ipv6/conf/" TEST_INTERFACE "/dad_transmits", "600");
        test_network_ip("addr add 2001:db8::77/64 dev " TEST_INTERFACE);
        test_assert_text(test_listen_fails(f->client, &tentative, 0, -1, "localAddress", "s", "2001:db8::77",
                                           NULL),
                         NOT_AVAILABLE);
        g_assert_nonnull(strstr(tentative, "[address-tentative address=2001:db8::77]"));
        g_free(test_listen(f->client, 0, -1, "localAddress", "s", "2001:db8::77", "freeBind", "b", true,
                           NULL));
        test_network_ip("addr del 2001:db8::77/64 dev " TEST_INTERFACE);
        test_network_set("ipv6/conf/" TEST_INTERFACE "/dad_transmits", "1");

        add_duplicate_address();
        test_assert_text(test_listen_fails(f->client, &duplicate, 0, -1, "localAddress", "s",
                                           TEST_NEIGHBOUR_IPV6, NULL),
                         NOT_AVAILABLE);
        g_assert_nonnull(strstr(duplicate, "[address-duplicate address=" TEST_NEIGHBOUR_IPV6 "]"));
        test_network_ip("addr del " TEST_NEIGHBOUR_IPV6 "/64 dev " TEST_INTERFACE);
}

/* Two listeners on one port: each sees only what arrives on its interface. */
TEST_IF(test_require_private_network(), "a listener accepts what arrives on its interface") {
        g_autofree char *outside = test_listen(f->client, 80, -1, "interface", "s", TEST_INTERFACE, NULL);
        assert_serves_neighbour(f, outside, TEST_IPV4, TEST_NEIGHBOUR_IPV4, TEST_IPV4);
        assert_serves_neighbour(f, outside, TEST_IPV6, TEST_NEIGHBOUR_IPV6, TEST_IPV6);
        assert_refuses(f, outside, "127.0.0.1");
        assert_refuses(f, outside, "::1");

        g_autofree char *inside = test_listen(f->client, 80, -1, "interface", "s", "lo", NULL);
        assert_serves(f, inside, "127.0.0.1");
        assert_serves(f, inside, "::1");
        test_listener_call(f->client, outside, "Close");
        assert_refuses_neighbour(f, inside, TEST_IPV4);
        assert_refuses_neighbour(f, inside, TEST_IPV6);
}

TEST("a listener is bound to the IPv4 address that is given, also IPv4-mapped") {
        static const struct {
                const char *given, *bound;
                bool all; /* addresses of this host */
        } cases[] = {
                { "127.0.0.1", "127.0.0.1", false },
                { "::ffff:127.0.0.1", "127.0.0.1", false },
                { "0.0.0.0", "0.0.0.0", true },
        };

        if (!test_require_private_network())
                return;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "localAddress", "s", cases[i].given,
                                                        NULL);

                assert_bound_to(f, listener, cases[i].bound);
                assert_serves(f, listener, "127.0.0.1");
                (cases[i].all ? assert_serves : assert_refuses)(f, listener, TEST_IPV4);
                assert_refuses(f, listener, "::1");
        }
}

typedef enum Choice {
        ABSENT,
        FALSE_VALUE,
        TRUE_VALUE,
} Choice;

static char *listen_with(Fixture *f, const char *address, Choice ipv6_only) {
        if (ipv6_only == ABSENT)
                return test_listen(f->client, 0, -1, "localAddress", "s", address, NULL);
        return test_listen(f->client, 0, -1, "localAddress", "s", address, "ipv6Only", "b",
                           ipv6_only == TRUE_VALUE, NULL);
}

/* host_default: net.ipv6.bindv6only, for sockets that do not say. */
static void check_ipv6_only(Fixture *f, const char *host_default) {
        static const struct {
                const char *address;
                Choice ipv6_only;
                bool ipv4, ipv6;
        } cases[] = {
                { "::", ABSENT, true, true },        { "::", FALSE_VALUE, true, true },
                { "::", TRUE_VALUE, false, true },   { "::1", ABSENT, false, true },
                { "::1", FALSE_VALUE, false, true }, { "::1", TRUE_VALUE, false, true },
                { "0.0.0.0", ABSENT, true, false },  { "0.0.0.0", FALSE_VALUE, true, false },
        };
        static const char *const ipv4_addresses[] = { "0.0.0.0", "127.0.0.1", TEST_IPV4, "::ffff:127.0.0.1" };

        if (!test_require_private_network())
                return;

        test_network_set("ipv6/bindv6only", host_default);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *listener = listen_with(f, cases[i].address, cases[i].ipv6_only);

                (cases[i].ipv4 ? assert_serves : assert_refuses)(f, listener, "127.0.0.1");
                (cases[i].ipv6 ? assert_serves : assert_refuses)(f, listener, "::1");
        }

        g_autofree char *by_default = test_listen(f->client, 0, -1, NULL);
        assert_serves(f, by_default, "127.0.0.1");
        assert_serves(f, by_default, "::1");

        for (size_t i = 0; i < ELEMENTS(ipv4_addresses); i++) {
                g_autofree char *message = NULL;
                g_autofree char *error = test_listen_fails(f->client, &message, 80, -1, "localAddress", "s",
                                                           ipv4_addresses[i], "ipv6Only", "b", true, NULL);

                assert_refused(error, message, SD_BUS_ERROR_INVALID_ARGS, "ipv6Only");
                g_assert_false(test_service_is_listening(f->service, 80));
        }

        /* The other family is free. */
        g_autofree char *half = test_listen(f->client, 80, -1, "ipv6Only", "b", true, NULL);
        g_autofree char *other_half = test_listen(f->client, 80, -1, "localAddress", "s", "0.0.0.0", NULL);
        assert_serves(f, half, "::1");
        assert_serves(f, other_half, "127.0.0.1");
        test_network_set("ipv6/bindv6only", "0");
}

TEST("ipv6Only decides whether a listener accepts IPv4") {
        check_ipv6_only(f, "0");
}

TEST("ipv6Only takes precedence over net.ipv6.bindv6only") {
        check_ipv6_only(f, "1");
}

/* In the service's process, before it starts: as a kernel that was built without IPv6. */
static void take_ipv6_away(void *data) {
        g_assert_no_errno(test_filter_socket(AF_INET6));
}

static const FixtureOptions without_ipv6 = { .service.setup = take_ipv6_away };

TEST_ON("without IPv6, the default address is 0.0.0.0", &without_ipv6) {
        if (!test_can_filter_socket())
                return;

        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *harmless = test_listen(f->client, 0, -1, "ipv6Only", "b", false, NULL);
        g_autofree char *given = test_listen(f->client, 0, -1, "localAddress", "s", "127.0.0.1", NULL);
        assert_bound_to(f, listener, "0.0.0.0");
        assert_bound_to(f, harmless, "0.0.0.0");
        assert_serves(f, listener, "127.0.0.1");
        assert_serves(f, harmless, "127.0.0.1");
        assert_serves(f, given, "127.0.0.1");
}

/* An explicit address is not replaced by another one. */
TEST_ON("without IPv6, IPv6 addresses are refused", &without_ipv6) {
        static const char *const addresses[] = { "::", "::1", TEST_IPV6 };

        if (!test_can_filter_socket())
                return;

        test_assert_text(test_listen_fails(f->client, NULL, 0, -1, "ipv6Only", "b", true, NULL),
                         NOT_AVAILABLE);
        for (size_t i = 0; i < ELEMENTS(addresses); i++) {
                test_assert_text(test_listen_fails(f->client, NULL, 0, -1, "localAddress", "s", addresses[i],
                                                   NULL),
                                 NOT_AVAILABLE);
        }
}
