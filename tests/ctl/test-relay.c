/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay": what comes in at one side goes out at the other, all of it, in both directions, to the end. */

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "ctl/relayed.h"

static void test_half_close(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), data);

        for (int client_first = 0; client_first <= 1; client_first++) {
                _cleanup_close_ int client = test_connect(client_first ? "::1" : "127.0.0.1", r.port);
                _cleanup_close_ int target = target_accept(&r.target);
                int a = client_first ? client : target, b = client_first ? target : client;

                test_send(a, "question", 8);
                g_assert_no_errno(shutdown(a, SHUT_WR));
                test_expect(b, "question");
                g_assert_cmpint(test_wait_end(b), ==, 0);
                /* The other direction goes on for as long as it likes. */
                for (unsigned i = 0; i < 3; i++) {
                        test_send(b, "answer", 6);
                        test_expect(a, "answer");
                }
                g_assert_no_errno(shutdown(b, SHUT_WR));
                g_assert_cmpint(test_wait_end(a), ==, 0);
        }
        relay_end(&r);
}

static void test_reset(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), NULL);

        for (int client_first = 0; client_first <= 1; client_first++) {
                int client = test_connect("::1", r.port), target = target_accept(&r.target);
                int a = client_first ? client : target, b = client_first ? target : client;

                test_assert_connected(a, b);
                peer_reset(a);
                g_assert_cmpint(test_wait_end(b), ==, ECONNRESET);
                close(b);
        }
        relay_end(&r);
}

/* ------------------------------------------------------------------------------------------- much data */

#define MUCH (12U * 1024 * 1024)
#define PIECE_MAX 70000

typedef struct Stream {
        int fd;
        guint32 seed;
        unsigned n;   /* bytes */
        char *digest; /* of what was sent or received */
} Stream;

static void *send_stream(void *data) {
        g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
        Stream *s = data;
        g_autoptr(GRand) random = g_rand_new_with_seed(s->seed);
        g_autofree guint32 *buffer = g_malloc0(PIECE_MAX + 4);

        for (unsigned left = s->n; left > 0;) {
                unsigned piece = (unsigned) g_rand_int_range(random, 1, PIECE_MAX);
                ssize_t n;

                piece = MIN(piece, left);
                for (unsigned i = 0; i < piece / 4 + 1; i += 97)
                        buffer[i] = g_rand_int(random);
                n = send(s->fd, buffer, piece, MSG_NOSIGNAL);
                g_assert_cmpint(n, ==, piece);
                g_checksum_update(checksum, (const guchar *) buffer, piece);
                left -= piece;
        }
        g_assert_no_errno(shutdown(s->fd, SHUT_WR));
        s->digest = g_strdup(g_checksum_get_string(checksum));
        return NULL;
}

static void *receive_stream(void *data) {
        g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
        g_autofree guchar *buffer = g_malloc(PIECE_MAX);
        Stream *s = data;
        ssize_t n;

        while ((n = recv(s->fd, buffer, PIECE_MAX, 0)) > 0) {
                g_checksum_update(checksum, buffer, n);
                s->n += (unsigned) n;
        }
        g_assert_no_errno(n);
        s->digest = g_strdup(g_checksum_get_string(checksum));
        return NULL;
}

/* Both ways at once. */
static void assert_transfers(int a, int b, unsigned n) {
        Stream up = { .fd = a, .seed = 1, .n = n }, down = { .fd = b, .seed = 2, .n = n };
        Stream up_end = { .fd = b }, down_end = { .fd = a };
        pthread_t threads[4];

        g_assert_cmpint(pthread_create(&threads[0], NULL, send_stream, &up), ==, 0);
        g_assert_cmpint(pthread_create(&threads[1], NULL, send_stream, &down), ==, 0);
        g_assert_cmpint(pthread_create(&threads[2], NULL, receive_stream, &up_end), ==, 0);
        g_assert_cmpint(pthread_create(&threads[3], NULL, receive_stream, &down_end), ==, 0);
        for (size_t i = 0; i < ELEMENTS(threads); i++)
                (void) pthread_join(threads[i], NULL);
        g_assert_cmpuint(up_end.n, ==, n);
        g_assert_cmpuint(down_end.n, ==, n);
        g_assert_cmpstr(up_end.digest, ==, up.digest);
        g_assert_cmpstr(down_end.digest, ==, down.digest);
        g_free(up.digest);
        g_free(up_end.digest);
        g_free(down.digest);
        g_free(down_end.digest);
}

static void transfer(Relayed *r) {
        _cleanup_close_ int client = test_connect("127.0.0.1", r->port), target = target_accept(&r->target);

        assert_transfers(client, target, MUCH);
        relay_end(r);
}

static void test_much_data(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), data);

        transfer(&r);
}

static void test_a_path(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new_unix(false, 16), NULL);

        transfer(&r);
}

static void test_an_abstract_name(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new_unix(true, 16), NULL);

        transfer(&r);
}

/* A sender is held back until the reader goes on, and then all arrives. */
static void test_a_slow_reader(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), NULL);
        _cleanup_close_ int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target),
                            other = -EBADF, other_target = -EBADF;
        g_autofree char *zeros = g_malloc0(1 << 20), *got = g_malloc(1 << 20);
        size_t sent = 0, received = 0, before;
        ssize_t n;

        g_assert_no_errno(fcntl(client, F_SETFL, O_NONBLOCK));
        do {
                before = sent;
                while ((n = send(client, zeros, 1 << 20, MSG_NOSIGNAL)) > 0)
                        sent += (size_t) n;
                g_assert_cmpint(errno, ==, EAGAIN);

                /* Meanwhile others are served; and what was under way has come as far as it will. */
                close_fd(other);
                close_fd(other_target);
                other = test_connect("127.0.0.1", r.port);
                other_target = target_accept(&r.target);
                for (unsigned i = 0; i < 100; i++)
                        test_assert_connected(other, other_target);
        } while (sent > before);

        g_assert_no_errno(shutdown(client, SHUT_WR));
        while (received < sent) {
                n = recv(target, got, 1 << 20, 0);
                g_assert_cmpint(n, >, 0);
                received += (size_t) n;
        }
        g_assert_cmpuint(received, ==, sent);
        g_assert_cmpint(test_wait_end(target), ==, 0);
        relay_end(&r);
}

/* ------------------------------------------------------------------------------------------ urgent bytes */

static void stop(Relayed *r) {
        test_child_signal(r->tool->child, SIGSTOP);
        test_wait_for(serving_get_state(r->tool->child->pid) == 'T');
}

/* An urgent one in the middle of n others. */
static void send_with_urgent(int fd, unsigned n) {
        g_autofree char *bytes = g_strnfill(n / 2, '.');

        test_send(fd, bytes, n / 2);
        g_assert_cmpint(send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL), ==, 1);
        test_send(fd, bytes, n / 2);
}

static void expect_with_urgent(int fd, unsigned n) {
        g_autofree char *expected = g_strnfill(n + 1, '.');

        expected[n / 2] = '!';
        test_expect(fd, expected);
}

static void assert_passes_urgent(Relayed *r, int from, int to, unsigned n, bool at_once, bool end) {
        if (at_once)
                stop(r);
        send_with_urgent(from, n);
        if (end)
                g_assert_no_errno(shutdown(from, SHUT_WR));
        if (at_once)
                test_child_signal(r->tool->child, SIGCONT);
        expect_with_urgent(to, n);
        if (end)
                g_assert_cmpint(test_wait_end(to), ==, 0);
}

static void relay_urgent_bytes(Relayed *r) {
        static const struct {
                unsigned n;
                bool at_once; /* all is there when it is looked at */
        } cases[] = { { 6, false }, { 6, true }, { 40000, true }, { 600000, false } };

        for (int client_first = 0; client_first <= 1; client_first++) {
                for (size_t i = 0; i < ELEMENTS(cases); i++) {
                        _cleanup_close_ int client = test_connect("127.0.0.1", r->port),
                                            target = target_accept(&r->target);
                        int a = client_first ? client : target, b = client_first ? target : client;

                        /* Nothing has to come after it; and what it ends with is no part of an end. */
                        for (int end = 0; end <= 1; end++)
                                assert_passes_urgent(r, a, b, cases[i].n, cases[i].at_once, end);
                        test_send(b, "answer", 6);
                        test_expect(a, "answer");
                }
        }
        relay_end(r);
}

/* They stay in their place, and hide nothing of what is behind them. */
static void test_urgent_bytes(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), data);

        relay_urgent_bytes(&r);
}

static void test_urgent_bytes_of_a_path(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new_unix(false, 16), NULL);

        relay_urgent_bytes(&r);
}

/* They may be the first to come. */
static void test_an_urgent_greeting(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), NULL);
        _cleanup_close_ int client = -EBADF, target = -EBADF;

        stop(&r);
        client = test_connect("127.0.0.1", r.port);
        for (unsigned i = 0; i < 3; i++)
                g_assert_cmpint(send(client, "!", 1, MSG_OOB | MSG_NOSIGNAL), ==, 1);
        test_child_signal(r.tool->child, SIGCONT);
        target = target_accept(&r.target);
        test_expect(target, "!!!");
        test_assert_connected(client, target);
        relay_end(&r);
}

/* ----------------------------------------------------------------------------------- many connections */

#define MANY 2000

static void test_thousands(Fixture *f, const void *data) {
        static int clients[MANY], targets[MANY];
        unsigned idle;
        Relayed r;

        if (!test_require_descriptors(4 * MANY + 256))
                return;

        r = relay_start(f, target_new(), data);
        for (unsigned i = 0; i < MANY; i++) {
                clients[i] = test_connect("127.0.0.1", r.port);
                test_send(clients[i], &i, sizeof(i));
                targets[i] = target_accept(&r.target);
        }
        for (unsigned i = 0; i < MANY; i++) {
                unsigned number;

                test_receive(targets[i], &number, sizeof(number));
                g_assert_cmpuint(number, ==, i);
                test_send(targets[i], &number, sizeof(number));
        }
        /* Pipes are only for what is under way. */
        test_wait_for((idle = test_count_fds(r.tool->child->pid)) >= 2 * MANY);
        g_assert_cmpuint(idle, <, 2 * MANY + 200);
        for (unsigned i = 0; i < MANY; i++) {
                unsigned number;

                test_receive(clients[i], &number, sizeof(number));
                g_assert_cmpuint(number, ==, i);
                close(clients[i]);
                g_assert_cmpint(test_wait_end(targets[i]), ==, 0);
                close(targets[i]);
        }
        test_wait_for(test_count_fds(r.tool->child->pid) < 200);
        relay_end(&r);
}

static void test_nobody_there(Fixture *f, const void *data) {
        Relayed r = {};
        Target target = target_new();
        g_autofree char *again = NULL;
        uint16_t port = test_local_port(target.fd);

        target.fd = close_fd(target.fd);
        r = relay_start(f, target, NULL);
        for (unsigned i = 0; i < 3; i++) {
                /* So soon that connect() itself may be told. */
                _cleanup_close_ int client = test_connect_start(NULL, "127.0.0.1", r.port);

                g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        }
        /* Said once, and it goes on. */
        again = g_strdup_printf(
                        "Failed to connect to 127.0.0.1:%u: Connection refused; is a server running there?\n",
                        port);
        test_wait_for(tool_has_complained(r.tool, again));
        {
                g_autofree char *text = NULL;

                g_assert_true(g_file_get_contents(r.tool->err, &text, NULL, NULL));
                g_assert_null(strstr(strstr(text, again) + 1, again));
        }
        relay_end(&r);
}

/* The queue of a Unix socket says that it is full, and not when it no longer is. */
static void test_a_full_queue(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new_unix(false, 0), NULL);
        int clients[20];

        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                clients[i] = test_connect("127.0.0.1", r.port);
                test_send(clients[i], &i, sizeof(i));
        }
        for (unsigned i = 0; i < ELEMENTS(clients); i++) {
                _cleanup_close_ int target = target_accept(&r.target);
                unsigned number;

                test_receive(target, &number, sizeof(number));
                test_send(target, &number, sizeof(number));
                test_receive(clients[number], &number, sizeof(number));
                close(clients[number]);
        }
        relay_end(&r);
}

static void test_real_programs(Fixture *f, const void *data) {
        g_autofree char *directory = test_make_directory("www"),
                        *file = g_build_filename(directory, "file", NULL);
        g_autofree char *got = g_build_filename(directory, "got", NULL), *to = NULL, *url = NULL;
        g_autoptr(GString) content = g_string_new(NULL);
        g_autoptr(Tool) httpd = NULL, relay = NULL;
        uint16_t target, port;

        if (!test_require_program("busybox") || !test_require_program("curl"))
                return;
        for (unsigned i = 0; i < 200000; i++)
                g_string_append_printf(content, "line %u\n", i);
        g_assert_true(g_file_set_contents(file, content->str, -1, NULL));
        httpd = serving_start(
                        f->bus, &target,
                        SERVING("listen", "--inetd", "0", "--", "busybox", "httpd", "-i", "-h", directory));
        to = g_strdup_printf("localhost:%u", target);
        relay = serving_start(f->bus, &port, SERVING("relay", "127.0.0.1:0", to));
        url = g_strdup_printf("http://127.0.0.1:%u/file", port);
        test_run_command("curl", "--silent", "--show-error", "--fail", "--output", got, url, NULL);
        test_run_command("cmp", file, got, NULL);
}

static void test_closed_by_an_administrator(Fixture *f, const void *data) {
        /* Without polkit, only root may close the listener of another connection. */
        if (!test_require_root())
                return;

        Relayed r = relay_start(f, target_new(), "--name=relayed");
        g_autoptr(ToolResult) result = tool_run(f->bus, "close", "relayed", NULL);

        g_assert_cmpint(result->status, ==, 0);
        g_assert_cmpint(test_child_wait(r.tool->child), ==, 1);
        g_assert_true(tool_has_complained(r.tool, "is lost: an administrator has closed it."));
        tool_free(r.tool);
        close_fd(r.target.fd);
        g_free(r.target.name);
}

static void test_the_service_is_killed(Fixture *f, const void *data) {
        Relayed r = relay_start(f, target_new(), data);

        (void) test_service_kill(f->service);
        if (data) {
                g_assert_cmpint(test_child_wait(r.tool->child), ==, 1);
                g_assert_true(tool_has_complained(
                                r.tool, "The port is lost: the service is gone; run the command again."));
        } else {
                /* Who has the socket needs it no more. */
                _cleanup_close_ int client = test_connect("127.0.0.1", r.port),
                                    target = target_accept(&r.target);

                test_assert_connected(client, target);
                g_assert_cmpint(serving_end(r.tool, SIGTERM), ==, 128 + SIGTERM);
        }
        /* The kernel closes what was on its way in a socket pair some time after the process. */
        test_wait_for(!test_is_listening(getpid(), r.port));
        tool_free(r.tool);
        close_fd(r.target.fd);
        g_free(r.target.name);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();
        serving_raise_descriptors();

#define ADD(path, test, data) g_test_add(path, Fixture, data, fixture_set_up_plain, test, fixture_tear_down)
        ADD("/relay/half-close", test_half_close, NULL);
        ADD("/relay/half-close by channel", test_half_close, "--delivery=channel");
        ADD("/relay/reset", test_reset, NULL);
        ADD("/relay/much data", test_much_data, NULL);
        ADD("/relay/much data by channel", test_much_data, "--delivery=channel");
        ADD("/relay/a path", test_a_path, NULL);
        ADD("/relay/an abstract name", test_an_abstract_name, NULL);
        ADD("/relay/a slow reader", test_a_slow_reader, NULL);
        ADD("/relay/urgent bytes", test_urgent_bytes, NULL);
        ADD("/relay/urgent bytes by channel", test_urgent_bytes, "--delivery=channel");
        ADD("/relay/urgent bytes of a path", test_urgent_bytes_of_a_path, NULL);
        ADD("/relay/an urgent greeting", test_an_urgent_greeting, NULL);
        ADD("/relay/thousands", test_thousands, NULL);
        ADD("/relay/nobody there", test_nobody_there, NULL);
        ADD("/relay/a full queue", test_a_full_queue, NULL);
        ADD("/relay/real programs", test_real_programs, NULL);
        ADD("/relay/closed by an administrator", test_closed_by_an_administrator, NULL);
        ADD("/relay/the service is killed, with the socket", test_the_service_is_killed, NULL);
        ADD("/relay/the service is killed, with a channel", test_the_service_is_killed, "--delivery=channel");
        return test_run();
}
