/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen --accept" and "--inetd": one COMMAND for each connection. */

#include <sys/syscall.h>

#include "ctl/serving.h"

/* Writes its environment and its descriptors to the connection. */
#define TELL                                                                              \
        "test $LISTEN_PID = $$ && "                                                       \
        "echo $LISTEN_FDS $LISTEN_FDNAMES >&3; wc -c >&3; ls /proc/self/fd | wc -l >&3; " \
        "env | LC_ALL=C sort | grep -E '^(PROTO|LOCAL_|REMOTE_|TCPLOCAL|TCPREMOTE)' >&3"

static void expect_told(uint16_t port, const char *address) {
        _cleanup_close_ int peer = test_connect(address, port);
        unsigned remote_port = test_local_port(peer);
        /* Standard input is empty. The connection and the directory that ls reads; no descriptor of the tool.
         */
        g_autofree char *expected = g_strdup_printf(
                        "1 connection\n0\n%u\n"
                        "LOCAL_ADDR=%s\nLOCAL_PORT=%u\nPROTO=TCP\nREMOTE_ADDR=%s\nREMOTE_PORT=%u\n"
                        "TCPLOCALIP=%s\nTCPLOCALPORT=%u\nTCPREMOTEIP=%s\nTCPREMOTEPORT=%u\n",
                        serving_count_inherited() + 2, address, port, address, remote_port, address, port,
                        address, remote_port);

        test_expect(peer, expected);
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

/* The port is bound for IPv6 and IPv4. */
TEST_BY_BOTH("the environment of the command") {
        /* As if the tool itself were a COMMAND: names of another connection. */
        static const char *const stale[] = { "TCPREMOTEHOST", "TCPREMOTEINFO", "TCPLOCALHOST",
                                             "REMOTE_HOST" };
        uint16_t port;

        for (size_t i = 0; i < ELEMENTS(stale); i++)
                g_assert_true(g_setenv(stale[i], "stale", true));
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--accept", delivery, "0", "--", "sh", "-c", TELL));
        for (size_t i = 0; i < ELEMENTS(stale); i++)
                g_unsetenv(stale[i]);

        expect_told(port, "127.0.0.1");
        expect_told(port, "::1");
        test_wait_for(serving_count_children(tool->child->pid) == 0);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, port));
}

/* Standard error is not the connection. */
TEST("--inetd has the connection as standard input and output") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", "0", "--", "sh", "-c",
                              "read line; echo \"$REMOTE_ADDR:$line:$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES\"; echo seen >&2"));
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);

        test_send(peer, "hello\n", 6);
        test_expect(peer, "127.0.0.1:hello:\n");
        g_assert_cmpint(test_wait_end(peer), ==, 0);
        test_wait_for(tool_has_complained(tool, "seen"));
}

/* The peers have sent their data and a RST before the tool gets the connections. */
TEST_BY_BOTH("connections that their peers have reset are served, with data and address") {
        uint16_t port, peer_ports[50];
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", delivery, "127.0.0.1:0", "--", "sh", "-c",
                              "read line; echo \"$REMOTE_ADDR $REMOTE_PORT $LOCAL_ADDR $LOCAL_PORT $line\" >&2"));

        test_child_signal(tool->child, SIGSTOP);
        for (unsigned i = 0; i < ELEMENTS(peer_ports); i++) {
                g_autofree char *line = g_strdup_printf("line %u\n", i);
                int peer = test_connect("127.0.0.1", port);

                peer_ports[i] = test_local_port(peer);
                test_send(peer, line, strlen(line));
                test_reset(peer);
        }
        if (streq(delivery, "--delivery=channel"))
                test_wait_for(serving_count_queued(port) == 0);
        test_child_signal(tool->child, SIGCONT);

        for (unsigned i = 0; i < ELEMENTS(peer_ports); i++) {
                g_autofree char *line = g_strdup_printf("127.0.0.1 %u 127.0.0.1 %u line %u\n", peer_ports[i],
                                                        port, i);

                test_wait_for(tool_has_complained(tool, line));
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("several ports") {
        uint16_t ports[2];

        ports[1] = test_free_port();
        g_autofree char *second = g_strdup_printf("127.0.0.1:%u", ports[1]);
        g_autoptr(Tool) tool = serving_start(f->bus, &ports[0],
                                             WORDS("listen", "--inetd", "0", second, "--", "echo", "here"));
        test_wait_for(tool_has_complained(tool, second));
        for (size_t i = 0; i < ELEMENTS(ports); i++) {
                _cleanup_close_ int peer = test_connect("127.0.0.1", ports[i]);

                test_expect(peer, "here\n");
        }
}

static char *run(const char *const *argv) {
        g_autofree char *directory = test_make_directory("run"),
                        *path = g_build_filename(directory, "out", NULL);
        g_autoptr(TestChild) child = test_child_new(argv, &(TestSpawn) { .log = path });

        test_wait_for_within(240000, test_child_has_exited(child));
        int status = test_child_wait(child);
        char *text = test_read_file(path);
        if (status != 0)
                g_error("%s ended with %d: %s", argv[0], status, text);
        return text;
}

TEST_IF(test_require_program("busybox") && test_require_program("curl"), "busybox httpd") {
        g_autofree char *directory = test_make_directory("www"),
                        *file = g_build_filename(directory, "file", NULL);
        uint16_t port;

        g_assert_true(g_file_set_contents(file, "hello from busybox", -1, NULL));
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", "0", "--", "busybox", "httpd", "-i", "-h", directory));
        g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/file", port);
        test_assert_text(run(WORDS("curl", "--silent", "--show-error", "--fail", url)), "hello from busybox");
}

/* To fork takes AddressSanitizer ten times as long. */
#ifdef __SANITIZE_ADDRESS__
#define CONNECTIONS "500"
#else
#define CONNECTIONS "2000"
#endif

/* Four times as many at once as there may be. */
TEST_BY_BOTH_IF(test_require_program("ab"), "thousands of connections") {
        const char *n = g_getenv("TEST_ACCEPT_CONNECTIONS") ?: CONNECTIONS;
        g_autofree char *url = NULL, *report = NULL,
                        *complete = g_strdup_printf("Complete requests:      %s\n", n);
        uint16_t port;

        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", delivery, "--max-connections=16",
                                                   "127.0.0.1:0", "--", g_getenv("TEST_CTL_ANSWER")));
        url = g_strdup_printf("http://127.0.0.1:%u/", port);
        report = run(WORDS("ab", "-q", "-s", "240", "-n", n, "-c", "64", url));
        g_test_message("%s", report);
        g_assert_nonnull(strstr(report, complete));
        g_assert_nonnull(strstr(report, "Failed requests:        0\n"));
        g_assert_null(strstr(report, "Non-2xx"));
        test_wait_for(serving_count_children(tool->child->pid) == 0);
        g_assert_false(tool_has_complained(tool, "Connections have to wait: "));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("a command that fails") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", "0", "--", "sh", "-c",
                              "read how; case $how in crash) kill -SEGV $$ ;; esac; exit 3"));
        const char *const how[] = { "fail\n", "crash\n", "fail\n" };

        for (size_t i = 0; i < ELEMENTS(how); i++) {
                _cleanup_close_ int peer = test_connect("::1", port);

                test_send(peer, how[i], strlen(how[i]));
                g_assert_cmpint(test_wait_end(peer), ==, 0);
                test_wait_for(serving_count_children(tool->child->pid) == 0);
        }
        test_wait_for(tool_has_complained(tool, "COMMAND for ::1, port "));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_true(tool_has_complained(tool, " failed with status 3.\n"));
        g_assert_true(tool_has_complained(tool, "COMMAND failed 2 times, last with status 3 for ::1, port "));
}

TEST("--verbose prints the start and the end of each command") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", "--verbose", "0", "--", "sh", "-c",
                              "read how; case $how in crash) kill -SEGV $$ ;; esac; exit 3"));
        _cleanup_close_ int failing = test_connect("::1", port);
        g_autofree char *first = g_strdup_printf("::1, port %u", test_local_port(failing)),
                        *started = g_strdup_printf(" of COMMAND started for %s.\n", first),
                        *failed = g_strdup_printf(" of COMMAND for %s ended with status 3 after 0.", first);

        test_wait_for(tool_has_complained(tool, started));
        g_autofree char *process = g_strdup_printf("Process %d of COMMAND",
                                                   (int) serving_get_child(tool->child->pid));
        g_assert_true(tool_has_complained(tool, process));
        test_send(failing, "fail\n", 5);
        test_wait_for(tool_has_complained(tool, failed));

        _cleanup_close_ int crashing = test_connect("127.0.0.1", port);
        g_autofree char *crashed = g_strdup_printf(
                        " of COMMAND for 127.0.0.1, port %u was terminated by signal SEGV after 0.",
                        test_local_port(crashing));
        test_send(crashing, "crash\n", 6);
        test_wait_for(tool_has_complained(tool, crashed));
        g_assert_false(tool_has_complained(tool, "failed"));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

/* They get the signal, and the tool waits for them; but the port is free at once. */
TEST("ends with its commands") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", "0", "--", "sh", "-c",
                              "trap 'echo told; read line; echo bye; exit' TERM; echo ready; while :; do read line; done"));
        _cleanup_close_ int peer = test_connect("::1", port), other = test_connect("::1", port);

        test_expect(peer, "ready\n");
        test_expect(other, "ready\n");
        test_child_signal(tool->child, SIGTERM);
        test_wait_for(!test_service_is_listening(f->service, port));
        test_expect(peer, "told\n");
        test_expect(other, "told\n");
        g_assert_false(test_child_has_exited(tool->child));
        test_send(peer, "\n", 1);
        test_expect(peer, "bye\n");
        test_send(other, "\n", 1);
        g_assert_cmpint(test_child_wait(tool->child), ==, 128 + SIGTERM);
        g_assert_true(tool->child->by_signal);
}

TEST("killed, it leaves its connections alive") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port, WORDS("listen", "--inetd", "0", "--", "cat"));
        _cleanup_close_ int peer = test_connect("::1", port);

        serving_assert_echoes(peer);
        g_assert_cmpint(serving_end(tool, SIGKILL), ==, 128 + SIGKILL);
        test_wait_for(!test_service_is_listening(f->service, port));
        serving_assert_echoes(peer);
}

static void close_by_administrator(Fixture *f, Tool *tool) {
        tool_do(f->bus, "close", "echo");
        test_wait_for(tool_has_complained(tool, "is lost: an administrator has closed it."));
}

TEST_BY_BOTH_IF(test_require_root(), "closed by an administrator") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--inetd", delivery, "--name=echo", "0", "--", "cat"));
        _cleanup_close_ int peer = test_connect("::1", port);

        serving_assert_echoes(peer);
        close_by_administrator(f, tool);
        test_wait_for(tool_has_complained(tool, "Waiting for 1 connection to end.\n"));
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        serving_assert_echoes(peer);
        g_assert_false(test_child_has_exited(tool->child));
        g_assert_no_errno(shutdown(peer, SHUT_WR));
        g_assert_cmpint(test_wait_end(peer), ==, 0);
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
}

/* Connections that the service has sent, or that wait for another one of their source. */
TEST_BY_BOTH_IF(test_require_root(), "connections that wait are served") {
        const char *limit = strstr(delivery, "socket") ? "--max-connections-per-source=1"
                                                       : "--max-connections=1";
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--inetd", delivery, limit, "--name=echo", "0", "--", "cat"));
        int peers[4];

        for (unsigned i = 0; i < ELEMENTS(peers); i++) {
                peers[i] = test_connect("127.0.0.1", port);
                test_send(peers[i], "a", 1);
                test_wait_for(serving_count_queued(port) == 0);
        }
        test_expect(peers[0], "a");
        close_by_administrator(f, tool);
        for (unsigned i = 0; i < ELEMENTS(peers); i++) {
                if (i > 0)
                        test_expect(peers[i], "a");
                g_assert_false(test_child_has_exited(tool->child));
                close(peers[i]);
        }
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
}

/* If one is lost, the other one is closed as well. */
TEST_BY_BOTH_IF(test_require_root(), "one of two ports is lost") {
        g_autofree char *second = g_strdup_printf("127.0.0.1:%u", test_free_port());
        uint16_t ports[2];
        g_autoptr(Tool) tool = serving_start(f->bus, &ports[0],
                                             WORDS("listen", "--inetd", delivery, "0", second, "--", "cat"));

        test_wait_for(tool_has_complained(tool, second));
        ports[1] = (uint16_t) atoi(strchr(second, ':') + 1);
        _cleanup_close_ int peer = test_connect("127.0.0.1", ports[1]);
        serving_assert_echoes(peer);
        tool_do(f->bus, "close", "1");
        test_wait_for(!test_service_is_listening(f->service, ports[1]));
        serving_assert_echoes(peer);
        g_assert_false(test_child_has_exited(tool->child));
        peer = close_fd(peer);
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
}

/* A system call fails with this errno. */
static Tool *serve_without(Fixture *f, int call, int error, uint16_t *ret_port) {
        Tool *tool;

        serving_forbid(call, error);
        tool = serving_start(f->bus, ret_port, WORDS("listen", "--inetd", "0", "--", "cat"));
        tool_set_up_with(NULL);
        return tool;
}

/* It cannot see when commands end, and tries again. */
TEST("pidfd_open() fails") {
        uint16_t port;

        g_autoptr(Tool) tool = serve_without(f, SYS_pidfd_open, ENFILE, &port);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_wait_for(tool_has_complained(tool,
                                          "Connections have to wait: Too many open files in system.\n"));
        serving_assert_echoes(peer);
        /* The tool has tried again, in vain: the zombie is not reaped. */
        g_assert_no_errno(shutdown(peer, SHUT_WR));
        g_assert_cmpint(test_wait_end(peer), ==, 0);
        test_wait_for(serving_get_state(serving_get_child(tool->child->pid)) == 'Z');
        g_assert_false(test_child_has_exited(tool->child));
        g_assert_cmpint(serving_end(tool, SIGKILL), ==, 128 + SIGKILL);
}

/* A connection that waits for one is closed when the tool ends. */
TEST("clone() fails") {
        uint16_t port;

        g_autoptr(Tool) tool = serve_without(f, SYS_clone, EAGAIN, &port);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_wait_for(tool_has_complained(tool,
                                          "Connections have to wait: Resource temporarily unavailable.\n"));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

TEST("a shortage is logged once") {
        static const char shortage[] = "Connections have to wait: Too many open files.";
        uint16_t port;

        g_autoptr(Tool) tool = serve_without(f, SYS_accept4, EMFILE, &port);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_wait_for(tool_has_complained(tool, shortage));
        unsigned n_rests = serving_count_rests(tool->child->pid);
        test_wait_for(serving_count_rests(tool->child->pid) >= n_rests + 10);
        g_assert_cmpuint(serving_count_complaints(tool, shortage), ==, 1);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

/* With options that refuse or delay connections, the service must accept them. */
TEST("options choose the delivery") {
        static const struct {
                const char *option, *delivery;
        } cases[] = {
                { "--no-delay", "socket" },          { "--allow-from=127.0.0.0/8", "channel" },
                { "--accept-rate=1000", "channel" }, { "--delivery=channel", "channel" },
                { "--delivery=socket", "socket" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint16_t port;
                g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                                     WORDS("listen", "--inetd", "--name=chosen",
                                                           cases[i].option, "0", "--", "echo", "here"));
                g_autoptr(ToolResult) shown = tool_run(f->bus, "show", "--json=short", "chosen");
                _cleanup_close_ int peer = test_connect("127.0.0.1", port);

                g_assert_nonnull(strstr(shown->out, cases[i].delivery));
                test_expect(peer, "here\n");
                g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        }
}

/* By another command; this one does not resume it. */
TEST("a paused listener waits until it is resumed") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", "--paused", "--persistent",
                                                   "--name=later", "0", "--", "echo", "here"));
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        g_autoptr(ToolResult) shown = tool_run(f->bus, "show", "later");

        g_assert_nonnull(strstr(shown->out, "Paused=yes\n"));
        g_assert_nonnull(strstr(shown->out, "Accepted=0\n"));
        tool_do(f->bus, "resume", "later");
        test_expect(peer, "here\n");
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}
