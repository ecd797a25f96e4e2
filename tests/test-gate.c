/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "ctl/serve/gate.h"
#include "ctl/service/connection-source.h"
#include "register.h"

/* Connections that have entered. */
typedef struct Inside {
        GateSource *sources[64];
        int fds[64];
        unsigned n, n_left;
} Inside;

static void on_enter(const Connection *connection, GateSource *source, void *userdata) {
        Inside *inside = userdata;

        g_assert_cmpuint(inside->n, <, ELEMENTS(inside->fds));
        inside->fds[inside->n] = connection->fd;
        inside->sources[inside->n++] = source;
}

/* The peers of arrive(). */
static int peers_of_test[64];
static unsigned n_peers_of_test;

static int arrive(Gate *gate, const char *from) {
        Connection connection = {};
        int ends[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        connection.fd = ends[0];
        g_assert_cmpuint(n_peers_of_test, <, ELEMENTS(peers_of_test));
        peers_of_test[n_peers_of_test++] = ends[1];
        g_assert_cmpint(address_parse(from, &connection.remote), ==, 0);
        g_assert_true(gate_is_open(gate));
        g_assert_cmpint(gate_enter(gate, &connection), ==, 0);
        return connection.fd;
}

/* The oldest connection exits. */
static void leave(Gate *gate, Inside *inside) {
        unsigned i = inside->n_left++;

        close(inside->fds[i]);
        gate_exit(gate, inside->sources[i]);
}

static void done(Gate *gate, Inside *inside) {
        while (inside->n_left < inside->n)
                leave(gate, inside);
        g_assert_cmpuint(gate_get_entered(gate), ==, 0);
        g_assert_null(gate_free(gate));
        while (n_peers_of_test > 0)
                close(peers_of_test[--n_peers_of_test]);
}

TEST_ALONE("limits all connections") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 2, 0, 8, 8 }, on_enter, &inside, &gate), ==, 0);
        (void) arrive(gate, "192.0.2.1");
        (void) arrive(gate, "192.0.2.1");
        g_assert_cmpuint(inside.n, ==, 2);
        g_assert_false(gate_is_open(gate));
        leave(gate, &inside);
        (void) arrive(gate, "192.0.2.2");
        g_assert_cmpuint(inside.n, ==, 3);
        g_assert_false(gate_is_open(gate));
        done(gate, &inside);
}

TEST_ALONE("limits the connections of a source") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 0, 1, 8, 8 }, on_enter, &inside, &gate), ==, 0);
        (void) arrive(gate, "192.0.2.1");
        int second = arrive(gate, "192.0.2.1");
        int third = arrive(gate, "192.0.2.1");
        g_assert_cmpuint(inside.n, ==, 1);
        (void) arrive(gate, "2001:db8::1");
        (void) arrive(gate, "2001:db8::2");
        g_assert_cmpuint(inside.n, ==, 3);

        /* In FIFO order, and only when one of the same source exits. */
        leave(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 4);
        g_assert_cmpint(inside.fds[3], ==, second);
        leave(gate, &inside);
        leave(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 4);
        leave(gate, &inside);
        g_assert_cmpint(inside.fds[4], ==, third);
        done(gate, &inside);
}

/* A TCP connection from an address, and its peer. */
static int arrive_connected(Gate *gate, const char *from, int *ret_peer) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(in);
        Connection connection = {};
        int listener;

        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(listener);
        g_assert_no_errno(listen(listener, 1));
        g_assert_no_errno(getsockname(listener, (struct sockaddr *) &in, &size));
        *ret_peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(*ret_peer);
        g_assert_no_errno(connect(*ret_peer, (struct sockaddr *) &in, size));
        connection.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(connection.fd);
        close(listener);

        must(address_parse(from, &connection.remote));
        g_assert_true(gate_is_open(gate));
        must(gate_enter(gate, &connection));
        return connection.fd;
}

static void close_with_reset(int peer) {
        connection_reset_at_close(peer);
        close(peer);
}

static void assert_reset(int peer) {
        char c;

        g_assert_cmpint(read(peer, &c, 1), ==, -1);
        g_assert_cmpint(errno, ==, ECONNRESET);
}

/* Beyond the bounds, in all and of each source, connections are reset. Other sources enter. */
TEST_ALONE("holds a bounded number and refuses others") {
        Inside inside = {};
        int peers[8];
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 0, 1, 3, 2 }, on_enter, &inside, &gate), ==, 0);
        /* One enters, two are held, and one is refused. */
        for (unsigned i = 0; i < 4; i++)
                (void) arrive_connected(gate, "192.0.2.1", peers + i);
        assert_reset(peers[3]);
        g_assert_true(gate_is_open(gate));
        /* The last place in all; then no source has one. */
        for (unsigned i = 4; i < 7; i++)
                (void) arrive_connected(gate, "192.0.2.2", peers + i);
        assert_reset(peers[6]);
        (void) arrive_connected(gate, "192.0.2.3", peers + 7);
        g_assert_cmpuint(inside.n, ==, 3);

        leave(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 4);
        close(peers[3]);
        (void) arrive_connected(gate, "192.0.2.1", peers + 3);
        done(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 7);
        for (unsigned i = 0; i < ELEMENTS(peers); i++)
                close(peers[i]);
}

TEST_ALONE("held connections that their peers have left make room") {
        Inside inside = {};
        int peers[6];
        char c;
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 0, 1, 3, 3 }, on_enter, &inside, &gate), ==, 0);
        for (unsigned i = 0; i < 4; i++)
                (void) arrive_connected(gate, "192.0.2.1", peers + i);
        /* Its data can be served. */
        g_assert_cmpint(send(peers[1], "data", 4, 0), ==, 4);
        close(peers[1]);
        /* These have sent nothing. */
        close(peers[2]);
        close_with_reset(peers[3]);

        int first = arrive_connected(gate, "192.0.2.1", peers + 4),
            second = arrive_connected(gate, "192.0.2.1", peers + 5);
        int refused;
        (void) arrive_connected(gate, "192.0.2.1", &refused);
        assert_reset(refused);
        close(refused);

        for (unsigned i = 0; i < 3; i++)
                leave(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 4);
        g_assert_cmpint(inside.fds[2], ==, first);
        g_assert_cmpint(inside.fds[3], ==, second);
        done(gate, &inside);
        g_assert_cmpint(read(peers[4], &c, 1), ==, 0);
        close(peers[0]);
        close(peers[4]);
        close(peers[5]);
}

/* Without need of its place, a connection is kept: its peer may wait for an answer. But after a reset without
 * data, nothing can be served. */
TEST_ALONE("held connections are served after the end of their input, but not after a reset") {
        Inside inside = {};
        int peers[4];
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 0, 1, 8, 8 }, on_enter, &inside, &gate), ==, 0);
        for (unsigned i = 0; i < 3; i++)
                (void) arrive_connected(gate, "192.0.2.1", peers + i);
        int last = arrive_connected(gate, "192.0.2.1", peers + 3);
        close_with_reset(peers[1]);
        g_assert_no_errno(shutdown(peers[2], SHUT_WR));

        leave(gate, &inside);
        leave(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 3);
        g_assert_cmpint(inside.fds[2], ==, last);
        done(gate, &inside);
        close(peers[0]);
        close(peers[2]);
        close(peers[3]);
}

TEST_ALONE("reports once that the limit is reached") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 2, 0, 8, 8 }, on_enter, &inside, &gate), ==, 0);
        (void) arrive(gate, "192.0.2.1");
        g_assert_false(gate_begin_full(gate));
        (void) arrive(gate, "192.0.2.1");
        g_assert_true(gate_begin_full(gate));
        leave(gate, &inside);
        (void) arrive(gate, "192.0.2.1");
        g_assert_false(gate_begin_full(gate));
        done(gate, &inside);
}

TEST_ALONE("drops held connections") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(&(GateLimits) { 0, 1, 3, 3 }, on_enter, &inside, &gate), ==, 0);
        (void) arrive(gate, "192.0.2.1");
        int held = arrive(gate, "192.0.2.1");
        gate_drop_held(gate);
        g_assert_cmpint(fcntl(held, F_GETFD), ==, -1);
        g_assert_false(gate_is_open(gate));
        done(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 1);
}
