/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay" when something ends before its time: nobody takes half of something for all of it. */

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "ctl/relayed.h"

/* All that comes until the end, and what that was: 0 or an errno. */
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

/* Half of something is not all of it. */
static void test_ended_by_a_signal(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), NULL);
        _cleanup_close_ int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target),
                            idle = test_connect("::1", r.port), idle_target = target_accept(&r.target);
        size_t sent = 0, n;
        int end;

        test_assert_connected(idle, idle_target);
        /* Until some is with the relay alone. */
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

static void close_by_administrator(Fixture *f, Relayed *r) {
        g_autoptr(ToolResult) result = tool_run(f->bus, "close", "relayed", NULL);

        g_assert_cmpint(result->status, ==, 0);
        test_wait_for(tool_has_complained(r->tool, "is lost: an administrator has closed it."));
}

static Relayed start_named(Fixture *f, const char *option, const char *other) {
        Relayed r = { .target = target_new() };

        r.tool = serving_start(f->bus, &r.port,
                               SERVING("relay", "0", r.target.name, "--name=relayed", option, other));
        return r;
}

static void test_the_listener_is_closed(Fixture *f, const void *data) {
        /* Without polkit, only root may close the listener of another connection. */
        if (!test_require_root())
                return;

        Relayed r = start_named(f, data, NULL);
        _cleanup_close_ int client = test_connect("::1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        close_by_administrator(f, &r);
        test_wait_for(tool_has_complained(r.tool, "Waiting for 1 connection to end.\n"));
        g_assert_cmpint(test_connect_fails("::1", r.port), ==, ECONNREFUSED);

        /* To the end, and to an ordinary one. */
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

static void test_the_service_is_stopped(Fixture *f, const void *data) {
        Relayed r = start_named(f, data, NULL);
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

/* Those that the service has handed over already. */
static void test_what_a_channel_holds(Fixture *f, const void *data) {
        /* Without polkit, only root may close the listener of another connection. */
        if (!test_require_root())
                return;

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

static void test_a_signal_after_that(Fixture *f, const void *data) {
        /* Without polkit, only root may close the listener of another connection. */
        if (!test_require_root())
                return;

        Relayed r = start_named(f, NULL, NULL);
        _cleanup_close_ int client = test_connect("::1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        close_by_administrator(f, &r);
        relay_end(&r);
        g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        g_assert_cmpint(test_wait_end(target), ==, ECONNRESET);
}

/* Who reads slowly gets all that had come before the reset. */
static void test_a_reset_comes_last(Fixture *f, const void *data) {
        static const char zeros[600 * 1000];
        Relayed r = relay_start(f, target_new(), NULL);

        for (int client_first = 0; client_first <= 1; client_first++) {
                int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);
                int sender = client_first ? client : target, reader = client_first ? target : client, end,
                    unsent;

                test_send(sender, zeros, sizeof(zeros));
                /* What is on its way to the relay, a reset drops. */
                test_wait_for(ioctl(sender, TIOCOUTQ, &unsent) == 0 && unsent == 0);
                peer_reset(sender);
                /* It has seen that by now. */
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

/* The kernel tells of a reset once: here, to whoever writes. Who reads must learn of it, too. */
static void test_a_reset_meets_bytes(Fixture *f, const void *data) {
        Relayed r = relay_start(f, data ? target_new_unix(false, 16) : target_new(), NULL);

        for (int client_first = 0; client_first <= (data ? 0 : 1); client_first++) {
                int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);
                int sender = client_first ? client : target, reader = client_first ? target : client, end;

                /* What the reader sends waits, and goes on as soon as something happens to the sender. */
                while (peer_fill(reader) > 0)
                        test_wait_for(serving_is_waiting(r.tool->child->pid));
                test_send(sender, "half", 4);
                peer_reset(sender);
                g_assert_cmpuint(receive_all(reader, &end), ==, 4);
                g_assert_cmpint(end, ==, ECONNRESET);
                close(reader);
        }
        relay_end(&r);
}

/* Who has ended cannot be told of to who has reset, and gets what came before that all the same. */
static void test_an_end_meets_a_reset(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), NULL);
        int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target), end;

        test_assert_connected(client, target);
        test_child_signal(r.tool->child, SIGSTOP);
        test_wait_for(serving_get_state(r.tool->child->pid) == 'T');
        g_assert_no_errno(shutdown(client, SHUT_WR));
        test_send(target, "half", 4);
        peer_reset(target);
        test_child_signal(r.tool->child, SIGCONT);
        g_assert_cmpuint(receive_all(client, &end), ==, 4);
        g_assert_cmpint(end, ==, ECONNRESET);
        close(client);
        relay_end(&r);
}

/* What has ended, and must not be looked at yet, costs no time. */
static void test_the_end_of_a_channel_waits(Fixture *f, const void *data) {
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

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();

#define ADD(path, test, data) \
        g_test_add("/relay ends/" path, Fixture, data, fixture_set_up_plain, test, fixture_tear_down)
        ADD("by a signal, with a reset", test_ended_by_a_signal, NULL);
        ADD("the listener is closed, with the socket", test_the_listener_is_closed, NULL);
        ADD("the listener is closed, with a channel", test_the_listener_is_closed, "--delivery=channel");
        ADD("the service is stopped, with the socket", test_the_service_is_stopped, NULL);
        ADD("the service is stopped, with a channel", test_the_service_is_stopped, "--delivery=channel");
        ADD("what a channel holds is served", test_what_a_channel_holds, NULL);
        ADD("a signal does not wait", test_a_signal_after_that, NULL);
        ADD("a reset comes last", test_a_reset_comes_last, NULL);
        ADD("a reset meets bytes", test_a_reset_meets_bytes, NULL);
        ADD("a reset meets bytes, of a Unix socket", test_a_reset_meets_bytes, "unix");
        ADD("an end meets a reset", test_an_end_meets_a_reset, NULL);
        ADD("the end of a channel waits", test_the_end_of_a_channel_waits, NULL);
        return test_run();
}
