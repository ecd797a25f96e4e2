/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* allowFrom, acceptRate, and the counters of connections. */

#include "bus/fixture.h"

typedef struct Counters {
        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;
} Counters;

static Counters get_counters(TestClient *client, const char *listener) {
        return (Counters) {
                .accepted = test_get_u64(client, listener, "Accepted"),
                .delivered = test_get_u64(client, listener, "Delivered"),
                .refused = test_get_u64(client, listener, "Refused"),
                .lost = test_get_u64(client, listener, "Lost"),
        };
}

static void assert_counters(TestClient *client, const char *listener, Counters expected) {
        Counters c = get_counters(client, listener);

        g_assert_cmpuint(c.accepted, ==, expected.accepted);
        g_assert_cmpuint(c.delivered, ==, expected.delivered);
        g_assert_cmpuint(c.refused, ==, expected.refused);
        g_assert_cmpuint(c.lost, ==, expected.lost);
}

typedef struct Visit {
        const char *from; /* NULL: the neighbour */
        const char *to;
        bool allowed;
} Visit;

static void visit(Fixture *f, const char *listener, const Visit *v, Counters *c) {
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int peer = v->from ? test_connect_from(v->from, v->to, port)
                                           : test_connect_from_neighbour(v->to, port);

        if (v->allowed) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                test_assert_connected(peer, accepted->socket);
                c->accepted++;
                test_wait_for(test_get_u64(f->client, listener, "Delivered") == c->accepted);
                c->delivered = c->accepted;
        } else {
                (void) test_wait_end(peer);
                c->refused++;
                test_settle(f->client);
                g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        }
        assert_counters(f->client, listener, *c);
}

static void assert_allows(Fixture *f, const char *const *prefixes, const Visit *visits, size_t n_visits) {
        g_autofree char *listener = test_listen(f->client, 0, -1, "allowFrom", "as", prefixes, NULL);
        Counters c = {};

        for (size_t i = 0; i < n_visits; i++)
                visit(f, listener, visits + i, &c);
        test_listener_call(f->client, listener, "Close");
}

#define ASSERT_ALLOWS(f, prefixes, visits) assert_allows(f, prefixes, visits, ELEMENTS(visits))
#define PREFIXES(...) ((const char *const[]) { __VA_ARGS__ __VA_OPT__(, ) NULL })

TEST("an empty allowFrom allows all peers") {
        static const Visit visits[] = {
                { "127.0.0.1", "127.0.0.1", true },
                { "::1", "::1", true },
        };

        ASSERT_ALLOWS(f, PREFIXES(), visits);
        ASSERT_ALLOWS(f, PREFIXES("0.0.0.0/0", "::/0"), visits);
}

/* Peers of a dual-stack listener are IPv4-mapped. */
TEST("allowFrom compares IPv4 peers with IPv4 prefixes") {
        static const Visit some[] = {
                { "127.0.1.4", "127.0.0.1", true },  { "127.0.1.7", "127.0.0.2", true },
                { "127.0.1.3", "127.0.0.1", false }, { "127.0.1.8", "127.0.0.1", false },
                { "127.0.0.5", "127.0.0.1", false }, { "::1", "::1", false },
        };

        ASSERT_ALLOWS(f, PREFIXES("127.0.1.4/30"), some);
        ASSERT_ALLOWS(f, PREFIXES("::ffff:127.0.1.4/126"), some);
}

TEST("allowFrom compares IPv6 peers with IPv6 prefixes") {
        static const Visit visits[] = {
                { "::1", "::1", true },
                { "127.0.0.1", "127.0.0.1", false },
        };

        ASSERT_ALLOWS(f, PREFIXES("::/0"), visits);
}

TEST("a peer is allowed by any of several prefixes") {
        static const Visit visits[] = {
                { NULL, TEST_IPV4, true },
                { NULL, TEST_IPV6, true },
                { NULL, TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE, false },
                { "127.0.0.1", "127.0.0.1", false },
                { TEST_IPV6, TEST_IPV6, false },
        };

        if (!test_require_private_network())
                return;
        ASSERT_ALLOWS(f, PREFIXES("198.51.100.0/24", "192.0.2.2", "2001:db8::2/127"), visits);
}

/* As remoteAddress has them. */
TEST_IF(test_require_private_network(), "allowFrom compares the scopes of link-local peers") {
        static const Visit allowed[] = { { NULL, TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE, true },
                                         { NULL, TEST_IPV6, false } },
                           refused[] = { { NULL, TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE, false } };

        ASSERT_ALLOWS(f, PREFIXES(TEST_NEIGHBOUR_LINK_LOCAL "%" TEST_INTERFACE), allowed);
        ASSERT_ALLOWS(f, PREFIXES("fe80::%" TEST_INTERFACE "/64"), allowed);
        ASSERT_ALLOWS(f, PREFIXES("fe80::/10"), allowed);
        ASSERT_ALLOWS(f, PREFIXES(TEST_NEIGHBOUR_LINK_LOCAL "%lo", "fe80::%missing0/10"), refused);
}

TEST_IF(test_require_private_network(), "allowFrom finds an interface that comes back") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "allowFrom", "as",
                                                WORDS("fe80::%" TEST_INTERFACE "/64"), NULL);
        static const Visit visit_allowed = { NULL, TEST_LINK_LOCAL "%" TEST_NEIGHBOUR_INTERFACE, true };
        Counters c = {};

        visit(f, listener, &visit_allowed, &c);
        test_network_cut_cable();
        test_network_lay_cable();
        visit(f, listener, &visit_allowed, &c);
}

/* Returns the port of the peer. */
static uint16_t be_refused(Fixture *f, const char *listener) {
        _cleanup_close_ int peer = test_connect_from("127.0.0.9", "127.0.0.1",
                                                     test_get_port(f->client, listener));
        uint16_t port = test_local_port(peer);

        (void) test_wait_end(peer);
        return port;
}

TEST_IF(test_require_root(), "the debug log names the peers that are refused, and other levels do not") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "allowFrom", "as", WORDS("::/0"), NULL),
                        *log = test_service_log(f->service);

        (void) be_refused(f, listener);
        test_settle(f->client);
        test_assert_text(test_service_log(f->service), log);

        sd_bus_message_unref(test_call(f->client, "/org/freedesktop/LogControl1",
                                       "org.freedesktop.DBus.Properties", "Set", "ssv",
                                       "org.freedesktop.LogControl1", "LogLevel", "s", "debug"));
        uint16_t port = be_refused(f, listener);
        g_autofree char *line = g_strdup_printf("<7>Refusing a connection to %s from 127.0.0.9 port %u, "
                                                "which allowFrom does not have\n",
                                                listener, port);
        test_wait_for(test_service_has_logged(f->service, line));
}

/* Peers are refused without credit, and at any rate. */
TEST("refusing peers does not wait for the rate or the window") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "allowFrom", "as", WORDS("::1"),
                                                TEST_ACKNOWLEDGE, "acceptRate", "u", 1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        uint64_t start = test_now();

        for (unsigned i = 0; i < 50; i++) {
                _cleanup_close_ int peer = test_connect("127.0.0.1", port);

                (void) test_wait_end(peer);
        }
        g_assert_cmpuint(test_now() - start, <, 10 * 1000000U);
        test_settle(f->client);
        assert_counters(f->client, listener, (Counters) { .refused = 50 });
}

/* How long it takes, in µs, until all have arrived, each with its own bytes. */
static uint64_t measure(Fixture *f, const char *listener, unsigned n) {
        uint16_t port = test_get_port(f->client, listener);
        g_autofree int *peers = g_new(int, n);
        uint64_t start = test_now(), end;

        for (unsigned i = 0; i < n; i++) {
                peers[i] = test_connect("::1", port);
                test_send(peers[i], &i, sizeof(i));
        }
        test_wait_for(test_client_count_accepted(f->client) == n);
        end = test_now();

        for (unsigned i = 0; i < n; i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                unsigned number;

                g_assert_cmpuint(accepted->serial, ==, i + 1);
                test_receive(accepted->socket, &number, sizeof(number));
                g_assert_cmpuint(number, ==, i);
                test_assert_connected(peers[i], accepted->socket);
                close_fd(peers[i]);
        }
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == n);
        assert_counters(f->client, listener, (Counters) { .accepted = n, .delivered = n });
        return end - start;
}

TEST("acceptRate delays connections and loses none") {
        static const struct {
                uint32_t rate;
                unsigned n;
        } rates[] = {
                { 1, 2 },
                { 10, 6 },
                { 50, 31 },
        };

        for (size_t i = 0; i < ELEMENTS(rates); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "acceptRate", "u", rates[i].rate,
                                                        NULL);
                uint64_t least = UINT64_C(1000000) * (rates[i].n - 1) / rates[i].rate;

                g_assert_cmpuint(measure(f, listener, rates[i].n), >=, least - TEST_EARLY);
                test_listener_call(f->client, listener, "Close");
        }
}

TEST("acceptRate 0 and the highest one delay nothing") {
        g_autofree char *unlimited = test_listen(f->client, 0, -1, "acceptRate", "u", 0, NULL);
        g_autofree char *highest = test_listen(f->client, 0, -1, "acceptRate", "u", UINT32_MAX, NULL);

        (void) measure(f, unlimited, 100);
        (void) measure(f, highest, 100);
}

static void take(Fixture *f, int peer) {
        test_client_expect_peer(f->client, NULL, peer);
}

TEST("Pause and Resume do not circumvent acceptRate") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "acceptRate", "u", 5, NULL);
        uint16_t port = test_get_port(f->client, listener);
        uint64_t start = test_now();
        _cleanup_close_ int a = test_connect("::1", port), b = test_connect("::1", port);
        _cleanup_close_ int c = test_connect("::1", port);

        take(f, a);
        for (unsigned i = 0; i < 20; i++) {
                test_listener_call(f->client, listener, "Pause");
                test_listener_call(f->client, listener, "Resume");
        }
        take(f, b);
        take(f, c);
        g_assert_cmpuint(test_now() - start, >=, 2 * 200000 - TEST_EARLY);
}

TEST("acceptRate does not delay Close") {
        unsigned n_fds = test_service_count_fds(f->service);
        g_autofree char *listener = test_listen(f->client, 0, -1, "acceptRate", "u", 1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int a = test_connect("::1", port), b = test_connect("::1", port);

        test_accepted_free(test_client_wait_accepted(f->client));
        test_listener_call(f->client, listener, "Close");
        (void) test_wait_end(a);
        (void) test_wait_end(b);
        g_assert_false(test_service_is_listening(f->service, port));
        test_wait_for(test_service_count_fds(f->service) == n_fds);
}

TEST("acceptRate does not delay other listeners") {
        g_autofree char *slow = test_listen(f->client, 0, -1, "acceptRate", "u", 1, NULL);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *quick = test_listen(f->client, 0, -1, NULL),
                        *theirs = test_listen(other, 0, -1, NULL);
        uint16_t slow_port = test_get_port(f->client, slow), port = test_get_port(f->client, quick);
        _cleanup_close_ int a = test_connect("::1", slow_port), b = test_connect("::1", slow_port);

        take(f, a);
        for (unsigned i = 0; i < 10; i++) {
                _cleanup_close_ int ours = test_connect("::1", port);
                _cleanup_close_ int another = test_connect("::1", test_get_port(other, theirs));
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                g_autoptr(TestAccepted) their_accepted = test_client_wait_accepted(other);

                /* This loop may take a second itself. */
                if (streq(accepted->listener, slow)) {
                        test_assert_connected(b, accepted->socket);
                        test_accepted_free(accepted);
                        accepted = test_client_wait_accepted(f->client);
                }
                test_assert_connected(ours, accepted->socket);
                test_assert_connected(another, their_accepted->socket);
        }
}
