/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay --exit-idle-time=" */

#include "base/clock.h"
#include "ctl/relayed.h"

#define TIME_MS 300
#define OPTION "--exit-idle-time=300ms"

static void wait_for_end(Relayed *r, uint64_t since_usec) {
        g_assert_cmpint(test_child_wait(r->tool->child), ==, 0);
        g_assert_cmpuint(clock_get_usec() - since_usec, >=, TIME_MS * 1000);
        g_assert_true(tool_has_complained(
                        r->tool,
                        "Ending, because no connection has come in the time of --exit-idle-time=.\n"));
        relay_wait(r, 0);
}

TEST_BY_BOTH("no connection comes") {
        uint64_t start = clock_get_usec();
        Relayed r = { .target = target_new() };

        r.tool = serving_start(f->bus, &r.port, WORDS("relay", "0", r.target.name, OPTION, delivery));
        wait_for_end(&r, start);
}

/* Connections overlap for longer than the time; it runs from the end of the last one. */
TEST("the last connection has ended") {
        Relayed r = relay_start(f, target_new(), OPTION);
        uint64_t start = clock_get_usec(), end;
        int client = -EBADF, target = -EBADF;

        do {
                int next = test_connect("127.0.0.1", r.port), next_target = target_accept(&r.target);

                test_assert_connected(next, next_target);
                close_fd(client);
                close_fd(target);
                client = next;
                target = next_target;
        } while (clock_get_usec() - start < 3 * TIME_MS * 1000);
        g_assert_false(test_child_has_exited(r.tool->child));

        end = clock_get_usec();
        close(client);
        close(target);
        wait_for_end(&r, end);
}

/* A connection that is not accepted yet when the time is over. */
TEST("a connection that comes at the end") {
        Relayed r = relay_start(f, target_new(), OPTION);
        uint64_t start = clock_get_usec(), end;

        test_child_signal(r.tool->child, SIGSTOP);
        test_wait_for(serving_get_state(r.tool->child->pid) == 'T');
        int client = test_connect("127.0.0.1", r.port);
        test_wait_for(clock_get_usec() - start > 2 * TIME_MS * 1000);
        test_child_signal(r.tool->child, SIGCONT);

        int target = target_accept(&r.target);
        test_assert_connected(client, target);
        end = clock_get_usec();
        close(client);
        close(target);
        wait_for_end(&r, end);
}

TEST("times that are none") {
        static const char *const cases[] = { "--exit-idle-time=0", "--exit-idle-time=soon",
                                             "--exit-idle-time=-1" };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                tool_assert_fails(tool_run(f->bus, "relay", "0", "127.0.0.1:1", cases[i]), 1,
                                  "Option --exit-idle-time= cannot be", "a time such as \"30s\" or \"5min\"");

        Relayed r = relay_start(f, target_new(), "--exit-idle-time=infinity");
        relay_end(&r);
}
