/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* --restart and --start-on-demand: the port stays while no COMMAND runs. What the tool says when COMMAND
 * fails. */

#include <fcntl.h>

#include "ctl/serving.h"

/* Serves one connection. Its status is the byte that the peer sends. */
#define SERVE_ONE                                              \
        "import fcntl, os, socket, sys\n"                      \
        "flags = fcntl.fcntl(3, fcntl.F_GETFL)\n"              \
        "s = socket.socket(fileno=3)\n"                        \
        "s.setblocking(True)\n"                                \
        "c, peer = s.accept()\n"                               \
        "c.sendall(b'n' if flags & os.O_NONBLOCK else b'b')\n" \
        "status = c.recv(1)[0]\n"                              \
        "s.setblocking(False)\n"                               \
        "sys.exit(status)\n"

static bool has_said(Tool *tool, const char *line, unsigned n) {
        return serving_count_complaints(tool, line) == n;
}

/* The socket is in blocking mode for each, although the one before it has changed that. */
static void exchange(uint16_t port, char status) {
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);

        test_expect(peer, "b");
        test_send(peer, &status, 1);
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

TEST("--restart starts the command again, while the port stays") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--restart", "0", "--", "python3", "-c", SERVE_ONE));

        /* Connections wait for the next one. */
        for (char status = 0; status < 4; status++)
                exchange(port, status);
        test_wait_for(has_said(tool, "COMMAND has ended with status 3; it is started again.", 1));
        g_assert_true(has_said(tool, "COMMAND has ended with status 0; it is started again.", 1));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, port));
}

TEST("--restart gives up after five starts within ten seconds") {
        static const struct {
                const char *script;
                int status;
        } cases[] = { { "exit 3", 3 }, { "exit 0", 1 }, { "kill -TERM $$", 128 + SIGTERM } };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autoptr(ToolResult)
                                result = tool_run(f->bus, "listen", "--restart", "--quiet", "0", "--", "sh",
                                                  "-c", "echo start; eval \"$1\"", "sh", cases[i].script);

                g_assert_cmpint(result->status, ==, cases[i].status);
                g_assert_cmpstr(result->out, ==, "start\nstart\nstart\nstart\nstart\n");
                g_assert_cmpstr(result->err, ==,
                                "COMMAND was started 5 times within 10 seconds and is not started again.\n");
        }
}

TEST("signals end the tool with --restart") {
        static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP };

        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                uint16_t port;

                (void) signal(signals[i], SIG_DFL);
                g_autoptr(Tool) tool = serving_start(
                                f->bus, &port, WORDS("listen", "--restart", "0", "--", "sleep", "1000"));

                /* Another process may send SIGHUP to COMMAND alone. */
                test_wait_for(serving_count_children(tool->child->pid) == 1);
                pid_t command = serving_get_child(tool->child->pid);
                g_assert_no_errno(kill(command, SIGHUP));
                test_wait_for(has_said(tool, "COMMAND was terminated by signal HUP; it is started again.",
                                       1) &&
                              serving_count_children(tool->child->pid) == 1);
                g_assert_cmpint(serving_get_child(tool->child->pid), !=, command);

                g_assert_cmpint(serving_end(tool, signals[i]), ==, 128 + signals[i]);
                g_assert_true(tool->child->by_signal);
        }
}

TEST("--start-on-demand starts the command with the first connection") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        WORDS("listen", "--start-on-demand", "0", "--", "python3", "-c", SERVE_ONE));

        test_wait_for(serving_is_waiting(tool->child->pid));
        g_assert_cmpuint(serving_count_children(tool->child->pid), ==, 0);
        exchange(port, 5);
        g_assert_cmpint(test_child_wait(tool->child), ==, 5);
}

TEST("--start-on-demand starts the command with each next one with --restart") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--start-on-demand", "--restart", "0", "--",
                                                   "python3", "-c", SERVE_ONE));

        for (unsigned i = 1; i <= 3; i++) {
                exchange(port, 1);
                test_wait_for(has_said(tool,
                                       "COMMAND has ended with status 1; it is started again with the next "
                                       "connection.",
                                       i) &&
                              serving_is_waiting(tool->child->pid));
                g_assert_cmpuint(serving_count_children(tool->child->pid), ==, 0);
        }
        g_assert_cmpint(serving_end(tool, SIGHUP), ==, 128 + SIGHUP);
        g_assert_false(test_service_is_listening(f->service, port));
}

TEST("the tool ends while it waits for a connection") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--start-on-demand", "0", "--", "sleep", "1000"));

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
        g_assert_true(tool_has_complained(tool, "is lost: the service was stopped"));
}

/* The listener and its queue stay; the program binds the port again. */
TEST("--restart works with run") {
        uint16_t port = test_free_port();
        g_autofree char *option = g_strdup_printf("--port=%u", port), *number = g_strdup_printf("%u", port);
        g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0,
                                          WORDS("run", option, "--restart", "--", "python3", "-c",
                                                "import socket, sys\n"
                                                "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
                                                "c, peer = s.accept()\n"
                                                "c.sendall(b'b')\n"
                                                "sys.exit(c.recv(1)[0])\n",
                                                number));

        test_wait_for(tool_has_complained(tool, "Listening on "));
        for (char status = 2; status < 5; status++)
                exchange(port, status);
        test_wait_for(has_said(tool, "COMMAND has ended with status 4; it is started again.", 1));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, port));
}

/* ------------------------------------------------------------------------------------- an early failure */

#define HINT \
        "; does it take descriptor 3? Try \"tcpserversocketctl run\", see LISTENING in tcpserversocketctl(1)."

TEST("the tool explains an early failure") {
        g_autoptr(ToolResult) failed = tool_run(f->bus, "listen", "0", "--", "sh", "-c", "exit 4");
        g_autoptr(ToolResult) well = tool_run(f->bus, "listen", "0", "--", "true");
        g_autoptr(ToolResult) quiet = tool_run(f->bus, "listen", "--quiet", "0", "--", "false");

        g_assert_cmpint(failed->status, ==, 4);
        g_assert_nonnull(strstr(failed->err, "\nCOMMAND has ended with status 4" HINT "\n"));
        g_assert_null(strstr(well->err, "COMMAND"));
        g_assert_cmpstr(quiet->err, ==, "");
}

TEST("the tool explains why a daemon ends") {
        g_autoptr(ToolResult) daemon = tool_run(f->bus, "listen", "0", "--", "sh", "-c", "sleep 1000 & true");
        g_autoptr(ToolResult)
                        failed = tool_run(f->bus, "listen", "0", "--", "sh", "-c", "sleep 1000 & exit 4");

        g_assert_cmpint(daemon->status, ==, 0);
        g_assert_nonnull(strstr(daemon->err,
                                "\nCOMMAND has ended, and its other processes end with it; a server "
                                "has to stay in the foreground.\n"));
        g_assert_cmpint(failed->status, ==, 4);
        g_assert_null(strstr(failed->err, "foreground"));
}

TEST("the tool does not explain a failure after a connection") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "0", "--", "python3", "-c", SERVE_ONE));

        exchange(port, 9);
        g_assert_cmpint(test_child_wait(tool->child), ==, 9);
        g_assert_false(tool_has_complained(tool, "COMMAND"));
}

/* It starts with a connection, and does not accept it. */
TEST("the tool explains a failure that left a connection in the queue") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--start-on-demand", "0", "--", "sh", "-c", "exit 6"));
        /* The tool may end, and reset the connection, before connect() returns. */
        _cleanup_close_ int peer = test_connect_start(NULL, "127.0.0.1", port);

        g_assert_cmpint(test_child_wait(tool->child), ==, 6);
        g_assert_true(tool_has_complained(tool, "COMMAND has ended with status 6" HINT "\n"));
}

/* ------------------------------------------------------------------- the processes of one connection each */

/* Writes the number of a process that it leaves behind. */
#define LEAVE "sleep 1000 </dev/null >/dev/null & echo $!; "

static pid_t read_number(int peer) {
        char text[16] = "";

        for (char *end = text; !strchr(text, '\n'); end++)
                test_receive(peer, end, 1);
        return (pid_t) atoi(text);
}

/* The process is no child of the tool, and init or its like reaps it. */
static bool is_gone(pid_t pid) {
        char state = serving_get_state(pid);

        return state == 0 || state == 'Z';
}

static Tool *start_leaver(Fixture *f,
                          const char *way,
                          const char *option,
                          const char *script,
                          int *ret_peer,
                          pid_t *ret) {
        uint16_t port;
        Tool *tool = serving_start(f->bus, &port,
                                   WORDS("listen", way, option, "0", "--", "sh", "-c", script));

        *ret_peer = test_connect("127.0.0.1", port);
        *ret = read_number(*ret_peer);
        g_assert_false(is_gone(*ret));
        return tool;
}

static void assert_ends_by(Fixture *f, int signal_number, const char *option, bool all) {
        _cleanup_close_ int peer = -EBADF;
        pid_t left;
        g_autoptr(Tool) tool = start_leaver(f, "--inetd", option, LEAVE "wait", &peer, &left);

        g_assert_cmpint(serving_end(tool, signal_number), ==, 128 + signal_number);
        if (all)
                test_wait_for(is_gone(left));
        else {
                g_assert_false(is_gone(left));
                g_assert_no_errno(kill(left, SIGKILL));
        }
}

TEST("a signal ends all processes of each connection") {
        assert_ends_by(f, SIGINT, "--kill-mode=group", true);
}

TEST("--kill-mode=process leaves other processes of connections alone") {
        assert_ends_by(f, SIGTERM, "--kill-mode=process", false);
}

TEST("the end of a command ends all processes of its connection") {
        _cleanup_close_ int peer = -EBADF;
        pid_t left;
        g_autoptr(Tool) tool = start_leaver(f, "--inetd", "--kill-after=1h", LEAVE "read line", &peer, &left);

        test_send(peer, "\n", 1);
        test_wait_for(is_gone(left));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("commands of connections that ignore SIGTERM are killed") {
        _cleanup_close_ int peer = -EBADF;
        pid_t left;
        g_autoptr(Tool) tool = start_leaver(f, "--inetd", "--kill-after=200ms",
                                            "trap '' TERM; " LEAVE "while :; do wait; sleep 1000; done",
                                            &peer, &left);

        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        test_wait_for(is_gone(left));
        g_assert_true(tool_has_complained(tool, "are killed; see --kill-after=."));
}

TEST("a second SIGINT kills commands of connections") {
        static const char script[] = "trap 'echo INT >&2' INT; " LEAVE "while :; do wait; sleep 1000; done";
        _cleanup_close_ int peer = -EBADF;
        pid_t left;
        g_autoptr(Tool) tool = start_leaver(f, "--inetd", "--kill-after=infinity", script, &peer, &left);

        test_child_signal(tool->child, SIGINT);
        test_wait_for(tool_has_complained(tool, " has not ended after SIGINT; Ctrl+C or \"kill -INT "));
        test_child_signal(tool->child, SIGINT);
        g_assert_cmpint(test_child_wait(tool->child), ==, 128 + SIGINT);
        test_wait_for(is_gone(left));
}

/* It has the listening socket as standard output. */
TEST("a signal ends all processes with --wait") {
        g_autofree char *directory = test_make_directory("left"),
                        *log = g_build_filename(directory, "log", NULL),
                        *script = g_strdup_printf("sleep 1000 & echo $! >%s; wait", log);
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--inetd", "--wait", "0", "--", "sh", "-c", script));
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);

        test_wait_for(test_file_contains(log, "\n"));
        g_autofree char *number = test_read_file(log);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        test_wait_for(is_gone((pid_t) atoi(number)));
}
