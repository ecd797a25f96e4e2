/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* --max-connections= and --max-connections-per-source=: excess connections wait, and are served later. What
 * waits of one address is limited, too. */

#include "ctl/relayed.h"

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
        g_assert_cmpuint(
                        serving_count_complaints(
                                        tool,
                                        "All 3 connections (--max-connections=) are in use, 3 of them from 127.0.0.1, others have to wait."),
                        ==, 1);
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

        /* Told once, for the first address. */
        test_wait_for(serving_count_complaints(
                                      tool,
                                      "All 2 connections from 127.0.0.1 (--max-connections-per-source=) "
                                      "are in use, others from there have to wait.") == 1);

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
        g_assert_false(tool_has_complained(tool, "from 127.0.0.2"));
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
        g_assert_true(tool_has_complained(tool,
                                          "All 3 connections (--max-connections=) are in use, 2 of them from "
                                          "127.0.0.1, others have to wait.\n"));

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

/* With fewer, the tool holds fewer connections. */
#define PLENTY (8 * 1024 + 256)

/* Connects until the tool says that its limit is reached. "relay" says more, because the peers are local. */
static void expect_limit(Tool *tool, uint16_t port, unsigned limit) {
        g_autofree char *line = g_strdup_printf("All %u connections (--max-connections=) are in use, ",
                                                limit);
        g_autofree int *peers = g_new(int, limit + 1);

        for (unsigned i = 0; i < limit - 1; i++)
                peers[i] = test_connect("127.0.0.1", port);
        test_wait_for(serving_count_queued(port) == 0);
        g_assert_false(tool_has_complained(tool, line));
        for (unsigned i = limit - 1; i < limit + 1; i++)
                peers[i] = test_connect("127.0.0.1", port);
        test_wait_for(tool_has_complained(tool, line));
        test_wait_for(serving_count_queued(port) == 1);
        for (unsigned i = 0; i < limit + 1; i++)
                close(peers[i]);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST_IF(test_require_descriptors(PLENTY), "the default limits") {
        uint16_t port;

        g_autoptr(Tool) listen_tool = serving_start(f->bus, &port,
                                                    WORDS("listen", "--inetd", "127.0.0.1:0", "--", "cat"));
        expect_limit(listen_tool, port, 64);

        Target target = target_new_unix(true, 1024);
        g_autoptr(Tool) relay_tool = serving_start(f->bus, &port, WORDS("relay", "127.0.0.1:0", target.name));
        expect_limit(relay_tool, port, 512);
        close(target.fd);
        g_free(target.name);
}

/* The tool reads none of the idle connections, and there are more than it holds. */
static void shut_out(Tool *tool, uint16_t port) {
        _cleanup_(crowd_done) Crowd others = {};
        int idle[1300];
        unsigned n_reset = 0;

        for (size_t i = 0; i < ELEMENTS(idle); i++)
                idle[i] = test_connect_start("127.0.0.1", "127.0.0.1", port);
        for (unsigned i = 0; i < 5; i++)
                crowd_connect(&others, "127.0.0.2", port);
        test_wait_for(crowd_count_served(&others) == 2);

        /* Two are served, and 128 are held. */
        for (size_t i = 0; i < ELEMENTS(idle); i++) {
                bool is_refused = test_has_ended(idle[i]);

                n_reset += is_refused;
                g_assert_true(is_refused == (i >= 2 + 128));
        }
        g_assert_cmpuint(n_reset, ==, ELEMENTS(idle) - 130);
        g_assert_cmpuint(serving_count_complaints(tool,
                                                  "Refused 1 connection, from 127.0.0.1: 128 of this address "
                                                  "wait already (--max-connections-per-source=2)."),
                         ==, 1);
        g_assert_false(tool_has_complained(tool, "connections, the last one"));

        /* Peers that have left give their places back. */
        for (size_t i = 2; i < ELEMENTS(idle); i++)
                close(idle[i]);
        for (unsigned i = 0; i < 5; i++) {
                idle[2 + i] = test_connect_from("127.0.0.1", "127.0.0.1", port);
                test_send(idle[2 + i], "?", 1);
        }
        test_wait_for(serving_count_queued(port) == 0);
        close(idle[0]);
        close(idle[1]);
        for (unsigned i = 0; i < 5; i++) {
                test_expect(idle[2 + i], "?");
                close(idle[2 + i]);
        }
        for (unsigned i = 0; i < 5; i++) {
                test_wait_for(crowd_is_served(&others, i));
                crowd_leave(&others, i);
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST_BY_BOTH_IF(test_require_descriptors(PLENTY), "one address cannot shut out others") {
        uint16_t port;

        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", delivery,
                                                   "--max-connections-per-source=2", "127.0.0.1:0", "--",
                                                   "cat"));
        shut_out(tool, port);
}

TEST_BY_BOTH_IF(test_require_descriptors(PLENTY), "one address cannot shut out others from a relay") {
        uint16_t port, target;

        g_autoptr(Tool) echo = serving_start(f->bus, &target,
                                             WORDS("listen", "--inetd", "127.0.0.1:0", "--", "cat"));
        g_autofree char *to = g_strdup_printf("127.0.0.1:%u", target);
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("relay", delivery, "--max-connections-per-source=2", "127.0.0.1:0", to));
        shut_out(tool, port);
        g_assert_cmpint(serving_end(echo, SIGTERM), ==, 128 + SIGTERM);
}
