/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>

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

static int arrive(Gate *gate, const char *from) {
        Connection connection = { .fd = open("/dev/null", O_RDONLY | O_CLOEXEC) };

        must(connection.fd);
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
}

TEST_ALONE("limits all connections") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(2, 0, 8, on_enter, &inside, &gate), ==, 0);
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

        g_assert_cmpint(gate_new(0, 1, 8, on_enter, &inside, &gate), ==, 0);
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

/* Beyond the bound, all sources have to wait. */
TEST_ALONE("holds a bounded number") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(0, 1, 3, on_enter, &inside, &gate), ==, 0);
        for (unsigned i = 0; i < 4; i++)
                (void) arrive(gate, "192.0.2.1");
        g_assert_false(gate_is_open(gate));
        leave(gate, &inside);
        g_assert_true(gate_is_open(gate));
        (void) arrive(gate, "192.0.2.2");
        g_assert_cmpuint(inside.n, ==, 3);
        done(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 5);
}

TEST_ALONE("drops held connections") {
        Inside inside = {};
        Gate *gate;

        g_assert_cmpint(gate_new(0, 1, 3, on_enter, &inside, &gate), ==, 0);
        (void) arrive(gate, "192.0.2.1");
        int held = arrive(gate, "192.0.2.1");
        gate_drop_held(gate);
        g_assert_cmpint(fcntl(held, F_GETFD), ==, -1);
        g_assert_false(gate_is_open(gate));
        done(gate, &inside);
        g_assert_cmpuint(inside.n, ==, 1);
}
