/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "relay" passes all data on in both directions, until both sides have ended. */

#include <pthread.h>

#include "ctl/relayed.h"

TEST_BY_BOTH("half-close") {
        Relayed r = relay_start(f, target_new(), delivery);

        for (int client_first = 0; client_first <= 1; client_first++) {
                _cleanup_close_ int client = test_connect(client_first ? "::1" : "127.0.0.1", r.port);
                _cleanup_close_ int target = target_accept(&r.target);
                int a = client_first ? client : target, b = client_first ? target : client;

                test_send(a, "question", 8);
                g_assert_no_errno(shutdown(a, SHUT_WR));
                test_expect(b, "question");
                g_assert_cmpint(test_wait_end(b), ==, 0);
                /* The other direction stays open. */
                for (unsigned i = 0; i < 3; i++) {
                        test_send(b, "answer", 6);
                        test_expect(a, "answer");
                }
                g_assert_no_errno(shutdown(b, SHUT_WR));
                g_assert_cmpint(test_wait_end(a), ==, 0);
        }
        relay_end(&r);
}

TEST("reset") {
        Relayed r = relay_start(f, target_new(), NULL);

        for (int client_first = 0; client_first <= 1; client_first++) {
                int client = test_connect("::1", r.port), target = target_accept(&r.target);
                int a = client_first ? client : target, b = client_first ? target : client;

                test_assert_connected(a, b);
                test_reset(a);
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

                piece = MIN(piece, left);
                for (unsigned i = 0; i < piece / 4 + 1; i += 97)
                        buffer[i] = g_rand_int(random);
                ssize_t n = send(s->fd, buffer, piece, MSG_NOSIGNAL);
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

static void transfer(Fixture *f, Target to, const char *option) {
        Relayed r = relay_start(f, to, option);
        _cleanup_close_ int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);

        assert_transfers(client, target, MUCH);
        relay_end(&r);
}

TEST_BY_BOTH("much data") {
        transfer(f, target_new(), delivery);
}

TEST("a target with a path") {
        transfer(f, target_new_unix(false, 16), NULL);
}

TEST("a target with an abstract name") {
        transfer(f, target_new_unix(true, 16), NULL);
}

/* A sender waits until the reader continues, and then all data arrives. */
TEST("a slow reader") {
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

                /* Meanwhile others are served, and the data of the sender has moved as far as it can. */
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

static void relay_urgent_bytes(Fixture *f, Target to, const char *option) {
        Relayed r = relay_start(f, to, option);
        static const struct {
                unsigned n;
                bool at_once; /* all is there when it is looked at */
        } cases[] = { { 6, false }, { 6, true }, { 40000, true }, { 600000, false } };

        for (int client_first = 0; client_first <= 1; client_first++) {
                for (size_t i = 0; i < ELEMENTS(cases); i++) {
                        _cleanup_close_ int client = test_connect("127.0.0.1", r.port),
                                            target = target_accept(&r.target);
                        int a = client_first ? client : target, b = client_first ? target : client;

                        /* No data has to follow it, and the end of the stream is no error. */
                        for (int end = 0; end <= 1; end++)
                                assert_passes_urgent(&r, a, b, cases[i].n, cases[i].at_once, end);
                        test_send(b, "answer", 6);
                        test_expect(a, "answer");
                }
        }
        relay_end(&r);
}

/* They stay in their place, and no data behind them is lost. */
TEST_BY_BOTH("urgent bytes") {
        relay_urgent_bytes(f, target_new(), delivery);
}

TEST("urgent bytes of a path") {
        relay_urgent_bytes(f, target_new_unix(false, 16), NULL);
}

/* Before the connection is accepted. */
TEST("an urgent greeting") {
        Relayed r = relay_start(f, target_new(), NULL);
        _cleanup_close_ int target = -EBADF;

        stop(&r);
        _cleanup_close_ int client = test_connect("127.0.0.1", r.port);
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

TEST_IF(test_require_descriptors(4 * MANY + 256), "thousands of connections") {
        static int clients[MANY], targets[MANY];
        unsigned idle;
        Relayed r;

        r = relay_start(f, target_new(), "--max-connections=0");
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
        /* An idle connection has no pipe. */
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

TEST("a target that does not listen") {
        Target target = target_new();
        g_autofree char *complaint = g_strdup_printf(
                        "Failed to connect to %s: Connection refused; is a server running there?",
                        target.name);
        Relayed r;

        target.fd = close_fd(target.fd);
        r = relay_start(f, target, NULL);
        for (unsigned i = 0; i < 3; i++) {
                /* The reset may come before connect() returns. */
                _cleanup_close_ int client = test_connect_start(NULL, "127.0.0.1", r.port);

                g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        }
        /* Logged once. */
        test_wait_for(serving_count_complaints(r.tool, complaint) > 0);
        g_assert_cmpuint(serving_count_complaints(r.tool, complaint), ==, 1);
        relay_end(&r);
}

/* connect() to a full queue of a Unix socket fails, and no event tells when there is room again. */
TEST("a full queue") {
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

TEST_IF(test_require_program("busybox") && test_require_program("curl"), "real programs") {
        g_autofree char *directory = test_make_directory("www"),
                        *file = g_build_filename(directory, "file", NULL);
        g_autofree char *got = g_build_filename(directory, "got", NULL), *to = NULL, *url = NULL;
        g_autoptr(GString) content = g_string_new(NULL);
        uint16_t target, port;

        for (unsigned i = 0; i < 200000; i++)
                g_string_append_printf(content, "line %u\n", i);
        g_assert_true(g_file_set_contents(file, content->str, -1, NULL));
        g_autoptr(Tool) httpd = serving_start(
                        f->bus, &target,
                        WORDS("listen", "--inetd", "0", "--", "busybox", "httpd", "-i", "-h", directory));
        to = g_strdup_printf("localhost:%u", target);
        g_autoptr(Tool) relay = serving_start(f->bus, &port, WORDS("relay", "127.0.0.1:0", to));
        url = g_strdup_printf("http://127.0.0.1:%u/file", port);
        test_run_command("curl", "--silent", "--show-error", "--fail", "--output", got, url);
        test_run_command("cmp", file, got);
}

TEST_IF(test_require_root(), "closed by an administrator") {
        Relayed r = relay_start(f, target_new(), "--name=relayed");

        tool_do(f->bus, "close", "relayed");
        test_wait_for(tool_has_complained(r.tool, "is lost: an administrator has closed it."));
        relay_wait(&r, 1);
}

TEST_BY_BOTH("the service is killed") {
        Relayed r = relay_start(f, target_new(), delivery);

        (void) test_service_kill(f->service);
        if (g_str_has_suffix(delivery, "channel")) {
                g_assert_cmpint(test_child_wait(r.tool->child), ==, 1);
                g_assert_true(tool_has_complained(
                                r.tool, "The port is lost: the service is gone; run the command again."));
        } else {
                /* With the socket, the service is not needed any more. */
                _cleanup_close_ int client = test_connect("127.0.0.1", r.port),
                                    target = target_accept(&r.target);

                test_assert_connected(client, target);
                g_assert_cmpint(serving_end(r.tool, SIGTERM), ==, 128 + SIGTERM);
        }
        /* After the end of the process, the kernel closes descriptors in a socket pair asynchronously. */
        test_wait_for(!test_is_listening(getpid(), r.port));
        relay_wait(&r, r.tool->child->status);
}

/* ------------------------------------------------------------------------------------- --verbose */

static char *match(Relayed *r, const char *format, int client) {
        g_autofree char *start = g_strdup_printf("Connection from 127.0.0.1, port %u to %s ",
                                                 test_local_port(client), r->target.name);

        return g_strconcat(start, format, NULL);
}

static bool has_line(Tool *tool, const char *pattern) {
        g_autofree char *text = test_read_file(tool->err);

        return g_regex_match_simple(pattern, text, G_REGEX_MULTILINE, 0);
}

TEST("connections are printed with --verbose") {
        Relayed r = relay_start(f, target_new(), "--verbose");
        int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);
        g_autofree char *
                        started = match(&r, "started\\.$", client),
                       *ended = match(&r,
                                      "ended after [0-9.]+ s, with 600008 bytes up and 600006 bytes down\\.$",
                                      client);

        test_wait_for(has_line(r.tool, started));
        test_send(client, "question", 8);
        test_expect(target, "question");
        test_send(target, "answer", 6);
        test_expect(client, "answer");
        assert_transfers(client, target, 600000);
        close(client);
        close(target);
        test_wait_for(has_line(r.tool, ended));

        for (int client_first = 0; client_first <= 1; client_first++) {
                client = test_connect("127.0.0.1", r.port);
                target = target_accept(&r.target);
                test_assert_connected(client, target);
                g_autofree char *failed = match(
                                &r,
                                client_first ? "failed .*: the connection to the peer has failed\\.$"
                                             : "failed .*: the connection to the target has failed\\.$",
                                client);
                test_reset(client_first ? client : target);
                g_assert_cmpint(test_wait_end(client_first ? target : client), ==, ECONNRESET);
                close(client_first ? target : client);
                test_wait_for(has_line(r.tool, failed));
        }

        client = test_connect("127.0.0.1", r.port);
        target = target_accept(&r.target);
        test_assert_connected(client, target);
        g_autofree char *cut = match(&r, "failed .*: the relay ends\\.$", client);
        test_child_signal(r.tool->child, SIGTERM);
        (void) test_child_wait(r.tool->child);
        test_wait_for(has_line(r.tool, cut));
        close(client);
        close(target);
        relay_wait(&r, 128 + SIGTERM);
}

TEST("a failed connection is printed with --verbose") {
        Target to = target_new();
        Relayed r;

        to.fd = close_fd(to.fd);
        r = relay_start(f, to, "-v");
        _cleanup_close_ int client = test_connect_start(NULL, "127.0.0.1", r.port);
        g_autofree char *failed = match(
                        &r, "failed after .* 0 bytes up and 0 bytes down: Connection refused\\.$", client);
        test_wait_for(has_line(r.tool, failed));
        relay_end(&r);
}

TEST("without --verbose, connections are not printed") {
        Relayed r = relay_start(f, target_new(), NULL);
        int client = test_connect("127.0.0.1", r.port), target = target_accept(&r.target);

        test_assert_connected(client, target);
        close(client);
        g_assert_cmpint(test_wait_end(target), ==, 0);
        close(target);
        g_assert_false(has_line(r.tool, "Connection from"));
        relay_end(&r);
}
