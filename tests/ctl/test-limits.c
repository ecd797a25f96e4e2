/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* --max-connections= and --max-connections-per-source=: excess connections wait, and are served later. */

#include "ctl/serving.h"

/* Peers of an echo server. A peer that has its echo is served. */
typedef struct Crowd {
        int peers[64];
        unsigned n;
        unsigned n_served;
        bool served[64];
} Crowd;

static void crowd_connect(Crowd *c, const char *source, uint16_t port) {
        int fd = test_connect_from(source, "127.0.0.1", port);

        g_assert_cmpuint(c->n, <, ELEMENTS(c->peers));
        test_send(fd, "?", 1);
        c->peers[c->n++] = fd;
}

static unsigned crowd_count_served(Crowd *c) {
        for (unsigned i = 0; i < c->n; i++) {
                if (c->served[i] || c->peers[i] < 0 || !test_has_input(c->peers[i]))
                        continue;
                test_expect(c->peers[i], "?");
                c->served[i] = true;
                c->n_served++;
        }
        return c->n_served;
}

static void crowd_leave(Crowd *c, unsigned i) {
        c->peers[i] = close_fd(c->peers[i]);
}

/* Peers that are served at the same time may get their echo in any order. */
static bool crowd_is_served(Crowd *c, unsigned i) {
        (void) crowd_count_served(c);
        return c->served[i];
}

static void crowd_done(Crowd *c) {
        for (unsigned i = 0; i < c->n; i++)
                close_fd(c->peers[i]);
}

TEST_BY_BOTH("a limit for all connections") {
        _cleanup_(crowd_done) Crowd c = {};
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", delivery, "--max-connections=3",
                                                   "127.0.0.1:0", "--", "cat"));
        pid_t pid = tool->child->pid;

        for (unsigned i = 0; i < 20; i++)
                crowd_connect(&c, NULL, port);
        test_wait_for(crowd_count_served(&c) == 3);
        g_assert_cmpuint(serving_count_children(pid), ==, 3);
        /* By a channel, the service has accepted as many as fit into it. */
        if (g_str_has_suffix(delivery, "socket"))
                g_assert_cmpuint(serving_count_queued(port), ==, 17);

        /* In the order in which they came. */
        for (unsigned i = 0; i < 20; i++) {
                g_assert_true(c.served[i]);
                crowd_leave(&c, i);
                test_wait_for(crowd_count_served(&c) == MIN(i + 4, 20));
                g_assert_cmpuint(serving_count_children(pid), <=, 3);
        }
        test_wait_for(serving_count_children(pid) == 0);
}

/* Many peers with one address do not delay peers with another one. */
TEST_BY_BOTH("a limit for each source") {
        _cleanup_(crowd_done) Crowd many = {}, others = {};
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", delivery,
                                                   "--max-connections-per-source=2", "127.0.0.1:0", "--",
                                                   "cat"));

        for (unsigned i = 0; i < 30; i++)
                crowd_connect(&many, "127.0.0.1", port);
        test_wait_for(crowd_count_served(&many) == 2);

        crowd_connect(&others, "127.0.0.2", port);
        crowd_connect(&others, "127.0.0.3", port);
        crowd_connect(&others, "127.0.0.2", port);
        crowd_connect(&others, "127.0.0.2", port);
        test_wait_for(crowd_count_served(&others) == 3);
        g_assert_cmpuint(crowd_count_served(&many), ==, 2);
        g_assert_false(others.served[3]);

        /* The end of a connection makes room only for its own source. */
        crowd_leave(&others, 1);
        crowd_leave(&others, 0);
        test_wait_for(crowd_count_served(&others) == 4);
        g_assert_cmpuint(crowd_count_served(&many), ==, 2);
        for (unsigned i = 0; i < 30; i++) {
                g_assert_true(many.served[i]);
                crowd_leave(&many, i);
                test_wait_for(crowd_count_served(&many) == MIN(i + 3, 30));
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

/* Both limits: beyond the total, connections stay in the kernel. */
TEST("both limits") {
        _cleanup_(crowd_done) Crowd a = {}, b = {};
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", "--max-connections=3",
                                                   "--max-connections-per-source=2", "127.0.0.1:0", "--",
                                                   "cat"));

        for (unsigned i = 0; i < 5; i++)
                crowd_connect(&a, "127.0.0.1", port);
        for (unsigned i = 0; i < 5; i++)
                crowd_connect(&b, "127.0.0.2", port);
        test_wait_for(crowd_count_served(&a) == 2 && crowd_count_served(&b) == 1);
        test_wait_for(serving_count_queued(port) == 4);

        crowd_leave(&a, 0);
        test_wait_for(crowd_count_served(&a) == 3);
        g_assert_cmpuint(crowd_count_served(&b), ==, 1);
        for (unsigned i = 1; i < 4; i++) {
                test_wait_for(crowd_is_served(&a, i));
                crowd_leave(&a, i);
        }
        test_wait_for(crowd_is_served(&a, 4) && crowd_count_served(&b) == 2);
        for (unsigned i = 0; i < 5; i++) {
                test_wait_for(crowd_is_served(&b, i));
                crowd_leave(&b, i);
        }
        g_assert_cmpuint(b.n_served, ==, 5);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("relay leaves excess connections in the kernel") {
        _cleanup_(crowd_done) Crowd c = {};
        uint16_t port, target;
        g_autoptr(Tool) echo = serving_start(f->bus, &target,
                                             WORDS("listen", "--inetd", "127.0.0.1:0", "--", "cat"));

        g_autofree char *to = g_strdup_printf("127.0.0.1:%u", target);
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("relay", "--max-connections=3", "127.0.0.1:0", to));
        for (unsigned i = 0; i < 20; i++)
                crowd_connect(&c, NULL, port);
        test_wait_for(crowd_count_served(&c) == 3);
        g_assert_cmpuint(serving_count_queued(port), ==, 17);
        for (unsigned i = 0; i < 20; i++) {
                g_assert_true(c.served[i]);
                crowd_leave(&c, i);
                test_wait_for(crowd_count_served(&c) == MIN(i + 4, 20));
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_cmpint(serving_end(echo, SIGTERM), ==, 128 + SIGTERM);
}
