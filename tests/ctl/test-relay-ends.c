/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay" when something ends early: a peer can tell incomplete data from complete data. */

#include <sys/ioctl.h>

#include "ctl/relayed.h"

/* Reads to the end of the connection, which is 0 or an errno. Returns the number of bytes. */
static size_t receive_all(int fd, int *ret_end) {
        static char buffer[65536];
        size_t received = 0;
        ssize_t n;

        for (;;) {
                n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
                if (n > 0)
                        received += (size_t) n;
                else if (n < 0 && errno == EAGAIN)
                        (void) test_wait_fd(fd, POLLIN);
                else
                        break;
        }
        *ret_end = n < 0 ? errno : 0;
        return received;
}

TEST("a signal ends it with a reset") {
        Relayed r = relay_start(f, target_new(), NULL);
        _cleanup_close_ int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target),
                            idle = test_connect("::1", r.port), idle_target = target_accept(&r.target);
        size_t sent = 0, n;
        int end;

        test_assert_connected(idle, idle_target);
        /* Until the relay itself holds some of the data. */
        while ((n = peer_fill(client)) > 0) {
                sent += n;
                test_wait_for(serving_is_waiting(r.tool->child->pid));
        }
        relay_end(&r);
        g_assert_cmpuint(receive_all(target, &end), <, sent);
        g_assert_cmpint(end, ==, ECONNRESET);
        g_assert_cmpint(test_wait_end(idle), ==, ECONNRESET);
        g_assert_cmpint(test_wait_end(idle_target), ==, ECONNRESET);
}

/* Before the relay gets the connection. */
TEST_BY_BOTH("the data of a peer that has reset its connection reaches the target") {
        Relayed r = relay_start(f, target_new(), delivery);

        test_child_signal(r.tool->child, SIGSTOP);
        for (unsigned i = 0; i < 20; i++) {
                int peer = test_connect("127.0.0.1", r.port);

                test_send(peer, &i, sizeof(i));
                test_reset(peer);
        }
        if (streq(delivery, "--delivery=channel"))
                test_wait_for(serving_count_queued(r.port) == 0);
        test_child_signal(r.tool->child, SIGCONT);

        for (unsigned i = 0; i < 20; i++) {
                _cleanup_close_ int target = target_accept(&r.target);
                unsigned number;

                test_receive(target, &number, sizeof(number));
                g_assert_cmpuint(number, ==, i);
                g_assert_cmpint(test_wait_end(target), ==, ECONNRESET);
        }
        relay_end(&r);
}

static void close_by_administrator(Fixture *f, Relayed *r) {
        tool_do(f->bus, "close", "relayed");
        test_wait_for(tool_has_complained(r->tool, "is lost: an administrator has closed it."));
}

static Relayed start_named(Fixture *f, const char *option, const char *other) {
        Relayed r = { .target = target_new() };

        r.tool = serving_start(f->bus, &r.port,
                               WORDS("relay", "0", r.target.name, "--name=relayed", option, other));
        return r;
}

/* Without polkit, only root may close the listener of another connection. */
TEST_BY_BOTH_IF(test_require_root(), "the listener is closed") {
        Relayed r = start_named(f, delivery, NULL);
        _cleanup_close_ int client = test_connect("::1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        close_by_administrator(f, &r);
        test_wait_for(tool_has_complained(r.tool, "Waiting for 1 connection to end.\n"));
        g_assert_cmpint(test_connect_fails("::1", r.port), ==, ECONNREFUSED);

        /* The connection goes on, and ends in order. */
        test_assert_connected(client, target);
        g_assert_false(test_child_has_exited(r.tool->child));
        g_assert_no_errno(shutdown(client, SHUT_WR));
        g_assert_cmpint(test_wait_end(target), ==, 0);
        test_send(target, "bye", 3);
        g_assert_no_errno(shutdown(target, SHUT_WR));
        test_expect(client, "bye");
        g_assert_cmpint(test_wait_end(client), ==, 0);
        relay_wait(&r, 1);
}

TEST_BY_BOTH("the service is stopped") {
        Relayed r = start_named(f, delivery, NULL);
        _cleanup_close_ int client = test_connect("::1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        test_wait_for(tool_has_complained(r.tool, "the service was stopped; run the command again."));
        test_assert_connected(client, target);
        client = close_fd(client);
        g_assert_cmpint(test_wait_end(target), ==, 0);
        target = close_fd(target);
        relay_wait(&r, 1);
}

/* Connections that are in the channel already. */
TEST_IF(test_require_root(), "connections in a channel are served") {
        Relayed r = start_named(f, "--delivery=channel", "--max-connections=1");
        int clients[4];

        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                clients[i] = test_connect("127.0.0.1", r.port);
                test_send(clients[i], &i, sizeof(i));
                /* In this order, and out of the kernel's queue. */
                test_wait_for(serving_count_queued(r.port) == 0);
        }
        close_by_administrator(f, &r);
        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                _cleanup_close_ int target = target_accept(&r.target);
                unsigned number;

                test_receive(target, &number, sizeof(number));
                g_assert_cmpuint(number, ==, i);
                test_assert_connected(target, clients[i]);
                close(clients[i]);
                g_assert_cmpint(test_wait_end(target), ==, 0);
        }
        relay_wait(&r, 1);
}

TEST_IF(test_require_root(), "a signal ends the wait for connections") {
        Relayed r = start_named(f, NULL, NULL);
        _cleanup_close_ int client = test_connect("::1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        close_by_administrator(f, &r);
        relay_end(&r);
        g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        g_assert_cmpint(test_wait_end(target), ==, ECONNRESET);
}

/* A slow reader gets all data before the reset. */
TEST("a reset comes after the data") {
        static const char zeros[600 * 1000];
        Relayed r = relay_start(f, target_new(), NULL);

        for (int client_first = 0; client_first <= 1; client_first++) {
                int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);
                int sender = client_first ? client : target, reader = client_first ? target : client, end,
                    unsent;

                test_send(sender, zeros, sizeof(zeros));
                /* A reset drops data that the relay has not received yet. */
                test_wait_for(ioctl(sender, TIOCOUTQ, &unsent) == 0 && unsent == 0);
                test_reset(sender);
                /* The relay has seen the reset by now. */
                for (unsigned i = 0; i < 2; i++) {
                        _cleanup_close_ int other = test_connect("127.0.0.1", r.port),
                                            other_target = target_accept(&r.target);

                        test_assert_connected(other, other_target);
                }
                g_assert_cmpuint(receive_all(reader, &end), ==, sizeof(zeros));
                g_assert_cmpint(end, ==, ECONNRESET);
                close(reader);
        }
        relay_end(&r);
}

/* The kernel reports a reset once: here, to the write. The reader must get it as well. */
static void reset_with_unsent_data(Fixture *f, bool local) {
        Relayed r = relay_start(f, local ? target_new_unix(false, 16) : target_new(), NULL);

        for (int client_first = 0; client_first <= !local; client_first++) {
                int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);
                int sender = client_first ? client : target, reader = client_first ? target : client, end;

                /* The data of the reader waits in the relay, which writes again when something happens to the
                 * sender. */
                while (peer_fill(reader) > 0)
                        test_wait_for(serving_is_waiting(r.tool->child->pid));
                test_send(sender, "half", 4);
                test_reset(sender);
                g_assert_cmpuint(receive_all(reader, &end), ==, 4);
                g_assert_cmpint(end, ==, ECONNRESET);
                close(reader);
        }
        relay_end(&r);
}

TEST("a reset with unsent data") {
        reset_with_unsent_data(f, false);
}

TEST("a reset with unsent data, of a Unix socket") {
        reset_with_unsent_data(f, true);
}

/* The end of one side cannot be passed on to a side that has reset, which does not lose the data before the
 * reset. */
TEST("an end before a reset") {
        Relayed r = relay_start(f, target_new(), NULL);
        int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target), end;

        test_assert_connected(client, target);
        test_child_signal(r.tool->child, SIGSTOP);
        test_wait_for(serving_get_state(r.tool->child->pid) == 'T');
        g_assert_no_errno(shutdown(client, SHUT_WR));
        test_send(target, "half", 4);
        test_reset(target);
        test_child_signal(r.tool->child, SIGCONT);
        g_assert_cmpuint(receive_all(client, &end), ==, 4);
        g_assert_cmpint(end, ==, ECONNRESET);
        close(client);
        relay_end(&r);
}

/* The end of a channel that is not read yet causes no busy loop. */
TEST("the end of a channel is not polled") {
        Relayed r = start_named(f, "--delivery=channel", "--max-connections=1");
        int client = test_connect("::1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        (void) test_service_kill(f->service);
        for (unsigned i = 0; i < 20; i++) {
                test_assert_connected(client, target);
                test_wait_for(serving_is_waiting(r.tool->child->pid));
        }
        close(client);
        close(target);
        relay_wait(&r, 1);
}
