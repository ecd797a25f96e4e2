/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen" without --accept: an unmodified server, as from socket activation. */

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/macros.h"
#include "ctl/serving.h"

/* Writes the name of each signal that it gets, and ends at SIGTERM. They are blocked from "ready" on, since
 * one that came right before signal.pause() would be told only with the next one. */
#define TELL_SIGNALS                                                                                       \
        "import signal, sys\n"                                                                             \
        "names = 'HUP', 'INT', 'QUIT', 'TERM', 'USR1', 'USR2', 'WINCH', 'CONT', 'TTIN', 'TTOU', 'RTMIN'\n" \
        "all = [getattr(signal, 'SIG' + name) for name in names]\n"                                        \
        "signal.pthread_sigmask(signal.SIG_BLOCK, all)\n"                                                  \
        "print('ready', flush=True)\n"                                                                     \
        "while True:\n"                                                                                    \
        "    number = signal.sigwait(all)\n"                                                               \
        "    print(signal.Signals(number).name, flush=True)\n"                                             \
        "    if number == signal.SIGTERM:\n"                                                               \
        "        sys.exit(42)\n"

static void test_passes_sockets(Fixture *f, const void *data) {
        g_autoptr(ToolResult) result = tool_run(
                        f->bus, "listen", "--quiet", "0", "127.0.0.1:0", "[::1]:0", "--", "sh", "-c",
                        "test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES && ls /proc/self/fd",
                        NULL);
        g_auto(GStrv) lines = g_strsplit(result->out, "\n", -1);
        unsigned a, b, c;

        g_assert_cmpint(result->status, ==, 0);
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpint(sscanf(lines[0], "3 %u:%u:%u", &a, &b, &c), ==, 3);
        /* The first one has all addresses; the kernel may give the other two the same port. */
        g_assert_cmpuint(a, !=, b);
        g_assert_cmpuint(a, !=, c);
        /* The sockets, what ls reads, and nothing of the tool's. Then, after the last newline, nothing. */
        g_assert_cmpint(g_strv_length(lines), ==, 1 + serving_count_inherited() + 3 + 1 + 1);
        /* When the tool has ended, the ports are free. */
        g_assert_false(test_service_is_listening(f->service, (uint16_t) a));
        g_assert_false(test_service_is_listening(f->service, (uint16_t) b));
        g_assert_false(test_service_is_listening(f->service, (uint16_t) c));
}

static void test_a_name(Fixture *f, const void *data) {
        g_autoptr(ToolResult) result = tool_run(f->bus, "listen", "--quiet", "--name=web", "0", "0", "--",
                                                "sh", "-c", "echo $LISTEN_FDNAMES", NULL);

        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpstr(result->out, ==, "web:web\n");
}

/* The socket is the COMMAND's, blocking, and works. */
static void test_the_command_accepts(Fixture *f, const void *data) {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             SERVING("listen", "0", "--", "python3", "-c",
                                                     "import socket\n"
                                                     "s = socket.socket(fileno=3)\n"
                                                     "while True:\n"
                                                     "    c, peer = s.accept()\n"
                                                     "    c.sendall(b'hello')\n"
                                                     "    c.close()\n"));

        for (unsigned i = 0; i < 3; i++) {
                _cleanup_close_ int peer = test_connect(i == 1 ? "127.0.0.1" : "::1", port);

                test_expect(peer, "hello");
                g_assert_cmpint(test_wait_end(peer), ==, 0);
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, port));
}

static void test_exit_statuses(Fixture *f, const void *data) {
        static const struct {
                const char *command[4];
                int status;
                const char *says;
        } cases[] = {
                { { "true" }, 0, "" },
                { { "sh", "-c", "exit 77" }, 77, "" },
                { { "there-is-no-such-program" },
                  127,
                  "Cannot run \"there-is-no-such-program\": there is no such program.\n" },
                { { "/nowhere/at/all" }, 127, "Cannot run \"/nowhere/at/all\": there is no such program.\n" },
                { { "/etc/passwd" }, 126, "Cannot run \"/etc/passwd\": Permission denied.\n" },
                { { "/usr" }, 126, "Cannot run \"/usr\": Permission denied.\n" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                const char *const *c = cases[i].command;
                g_autoptr(ToolResult) result = tool_run(f->bus, "listen", "--quiet", "0", "--", c[0], c[1],
                                                        c[2], NULL);

                g_assert_cmpstr(result->err, ==, cases[i].says);
                g_assert_cmpint(result->status, ==, cases[i].status);
        }
}

static char *here;

static void go_there(void *data) {
        g_assert_no_errno(chdir(here));
}

/* A part of PATH that is empty is the directory that one is in; environ(7). */
static void test_finds_the_command_here(Fixture *f, const void *data) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus)),
                        *program = NULL;
        const char *const environment[] = { address, "PATH=/usr/bin::/bin", NULL };
        g_autoptr(ToolResult) result = NULL;

        here = test_make_directory("here");
        program = g_build_filename(here, "only-here", NULL);
        g_assert_true(g_file_set_contents_full(program, "#!/bin/sh\necho found\n", -1,
                                               G_FILE_SET_CONTENTS_NONE, 0755, NULL));
        tool_set_up_with(go_there);
        result = tool_run_full(f->bus, environment, 0, SERVING("listen", "--quiet", "0", "--", "only-here"));
        tool_set_up_with(NULL);
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpstr(result->out, ==, "found\n");
        g_clear_pointer(&here, g_free);
}

/* As if it had been the COMMAND itself: for a shell that is 128 and the number, but whoever waits for a
 * program, such as systemd, makes a difference. */
static void test_ends_by_the_same_signal(Fixture *f, const void *data) {
        static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGKILL, SIGUSR1, SIGPIPE, SIGSEGV };

        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                g_autofree char *kill = g_strdup_printf("ulimit -c 0; kill -%d $$", signals[i]);
                uint16_t port;
                g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                                     SERVING("listen", "0", "--", "sh", "-c", kill));

                g_assert_cmpint(test_child_wait(tool->child), ==, 128 + signals[i]);
                g_assert_true(tool->child->by_signal);
                g_assert_false(test_service_is_listening(f->service, port));
        }
}

/* Its own arguments, even those that look like the tool's; what it inherits; the priority of signals. */
static void test_leaves_the_command_alone(Fixture *f, const void *data) {
        g_autofree char *expected = NULL;
        g_autoptr(ToolResult) result = tool_run(
                        f->bus, "listen", "--quiet", "0", "--", "sh", "-c",
                        "echo \"$@\"; ulimit -Sn; grep -E '^Sig(Blk|Ign)' /proc/self/status", "--",
                        "--accept", "--", "-h", NULL);
        g_auto(GStrv) lines = g_strsplit(result->out, "\n", -1);
        const char *const argv[] = { "sh", "-c", "ulimit -Sn; grep -E '^Sig(Blk|Ign)' /proc/self/status",
                                     NULL };
        g_autofree char *directory = test_make_directory("plain"),
                        *path = g_build_filename(directory, "out", NULL);
        TestChild *plain = test_child_new(argv, &(TestSpawn) { .log = path });

        g_assert_cmpint(test_child_wait(plain), ==, 0);
        test_child_free(plain);
        g_assert_true(g_file_get_contents(path, &expected, NULL, NULL));
        g_assert_cmpstr(lines[0], ==, "--accept -- -h");
        g_assert_cmpstr(strchr(result->out, '\n') + 1, ==, expected);
}

static void test_passes_signals_on(Fixture *f, const void *data) {
        const struct {
                int number;
                const char *name;
        } signals[] = {
                { SIGHUP, "SIGHUP" },
                { SIGINT, "SIGINT" },
                { SIGQUIT, "SIGQUIT" },
                { SIGUSR1, "SIGUSR1" },
                { SIGUSR2, "SIGUSR2" },
                { SIGWINCH, "SIGWINCH" },
                /* More workers and fewer, to gunicorn; what systemd's own services know. */
                { SIGTTIN, "SIGTTIN" },
                { SIGTTOU, "SIGTTOU" },
                { SIGRTMIN, "SIGRTMIN" },
        };
        uint16_t port;

        /* What is ignored at the start, as under nohup, stays so. */
        for (size_t i = 0; i < ELEMENTS(signals); i++)
                (void) signal(signals[i].number, SIG_DFL);

        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             SERVING("listen", "0", "--", "python3", "-c", TELL_SIGNALS));

        test_wait_for(tool_has_written(tool, "ready\n"));
        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                test_child_signal(tool->child, signals[i].number);
                test_wait_for(serving_count_lines(tool, signals[i].name) == 1);
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 42);
        g_assert_cmpuint(serving_count_lines(tool, "SIGTERM"), ==, 1);
        g_assert_false(test_service_is_listening(f->service, port));
}

static void enter_own_group(void *data) {
        g_assert_no_errno(setpgid(0, 0));
}

/* As a shell starts a job, only that it can be told apart from what is typed. */
static void test_stops_and_goes_on(Fixture *f, const void *data) {
        g_autofree char *directory = test_make_directory("job"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        const char *const argv[] = { g_getenv("TEST_CTL"), "listen", "0", "--", "python3", "-c",
                                     TELL_SIGNALS,         NULL };
        const char *const environment[] = { address, NULL };
        TestChild *child = test_child_new(
                        argv,
                        &(TestSpawn) { .log = log, .environment = environment, .setup = enter_own_group });
        pid_t command;

        test_wait_for(test_file_contains(log, "ready\n"));
        command = serving_get_child(child->pid);
        test_child_signal(child, SIGTSTP);
        test_wait_for(serving_get_state(child->pid) == 'T' && serving_get_state(command) == 'T');
        test_child_signal(child, SIGCONT);
        test_wait_for(serving_get_state(child->pid) == 'S' && test_file_contains(log, "SIGCONT\n"));
        test_child_signal(child, SIGTERM);
        g_assert_cmpint(test_child_wait(child), ==, 42);
        test_child_free(child);
}

/* What is typed reaches all that run on the terminal, and so not through the tool once more. */
static void test_a_key_is_one_signal(Fixture *f, const void *data) {
        static const char *const argv[] = { "listen", "0", "--", "python3", "-c", TELL_SIGNALS, NULL };
        g_autoptr(Terminal) t = terminal_new(f->bus, NULL, 80, argv);

        test_wait_for(terminal_shows(t, "ready"));
        terminal_type(t, "\003");
        test_wait_for(terminal_shows(t, "SIGINT"));
        /* Comes after whatever the tool had passed on before. */
        test_child_signal(t->child, SIGUSR1);
        test_wait_for(terminal_shows(t, "SIGUSR1"));
        g_assert_null(strstr(strstr(t->shown->str, "SIGINT") + 1, "SIGINT"));
        test_child_signal(t->child, SIGTERM);
        g_assert_cmpint(terminal_wait(t), ==, 42);
}

/* A shell that has put it into the background wants to know that it waits to be brought back. */
static void test_a_background_job_that_reads(Fixture *f, const void *data) {
        static const char *const argv[] = { "listen",
                                            "0",
                                            "--",
                                            "bash",
                                            "-c",
                                            "set -m; \"$TEST_CTL\" listen 0 -- cat & wait $!; echo \"<$?>\"; "
                                            "kill -KILL %1",
                                            NULL };
        g_autofree char *stopped = g_strdup_printf("<%d>", 128 + SIGTTIN);
        g_autoptr(Terminal) t = NULL;

        if (!test_require_program("bash"))
                return;
        t = terminal_new(f->bus, NULL, 80, argv);
        test_wait_for(terminal_shows(t, stopped));
        g_assert_cmpint(terminal_wait(t), ==, 0);
}

/* As under nohup. */
static void test_ignored_signals_stay_ignored(Fixture *f, const void *data) {
        g_autofree char *directory = test_make_directory("nohup"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        const char *const argv[] = { "sh",
                                     "-c",
                                     "trap '' HUP; exec \"$@\"",
                                     "sh",
                                     g_getenv("TEST_CTL"),
                                     "listen",
                                     "0",
                                     "--",
                                     "python3",
                                     "-c",
                                     "import signal\n"
                                     "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
                                     "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, flush=True)\n"
                                     "signal.sigwait([signal.SIGUSR1])\n"
                                     "print('USR1', flush=True)\n",
                                     NULL };
        const char *const environment[] = { address, NULL };
        TestChild *child = test_child_new(argv, &(TestSpawn) { .log = log, .environment = environment });

        test_wait_for(test_file_contains(log, "True\n"));
        test_child_signal(child, SIGHUP);
        test_child_signal(child, SIGUSR1);
        g_assert_cmpint(test_child_wait(child), ==, 0);
        g_assert_true(test_file_contains(log, "USR1"));
        test_child_free(child);
}

/* Some supervisors do that, and the kernel then reaps children by itself. COMMAND finds what the tool did. */
static void test_ignored_children(Fixture *f, const void *data) {
        g_autofree char *directory = test_make_directory("children"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        const char *const argv[] = { "python3",
                                     "-c",
                                     "import os, signal, sys\n"
                                     "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
                                     "os.execv(sys.argv[1], sys.argv[1:])\n",
                                     g_getenv("TEST_CTL"),
                                     "listen",
                                     "--quiet",
                                     "0",
                                     "--",
                                     "python3",
                                     "-c",
                                     "import signal, sys\n"
                                     "print(signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN)\n"
                                     "sys.exit(7)\n",
                                     NULL };
        const char *const environment[] = { address, NULL };
        TestChild *child = test_child_new(argv, &(TestSpawn) { .log = log, .environment = environment });

        g_assert_cmpint(test_child_wait(child), ==, 7);
        g_assert_true(test_file_contains(log, "True\n"));
        test_child_free(child);
}

/* Of several ports, none stays bound when one cannot be had: nobody would know of it. */
static void test_persistent_is_all_or_nothing(Fixture *f, const void *data) {
        uint16_t first = test_free_port();
        g_autofree char *free_port = g_strdup_printf("%u", first), *listener = NULL, *taken = NULL;
        g_autoptr(ToolResult) result = NULL;

        listener = test_listen(f->client, 0, -1, NULL);
        taken = g_strdup_printf("%u", test_get_port(f->client, listener));
        result = tool_run(f->bus, "listen", "--persistent", free_port, taken, "--", "true", NULL);
        g_assert_cmpint(result->status, ==, 1);
        g_assert_false(test_service_is_listening(f->service, first));
}

/* Nothing is left of it but what the COMMAND does at SIGTERM. */
static void test_killed(Fixture *f, const void *data) {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             SERVING("listen", "0", "--", "python3", "-c", TELL_SIGNALS));

        test_wait_for(tool_has_written(tool, "ready\n"));
        g_assert_cmpint(serving_end(tool, SIGKILL), ==, 128 + SIGKILL);
        test_wait_for(!test_service_is_listening(f->service, port));
        test_wait_for(tool_has_written(tool, "SIGTERM\n"));
        g_assert_cmpint(test_connect_fails("127.0.0.1", port), ==, ECONNREFUSED);
}

/* The COMMAND, which cannot know, is told to end. */
static void assert_ends(Fixture *f, Tool *tool, const char *says) {
        g_autofree char *said = NULL;

        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
        g_assert_true(tool_has_written(tool, "SIGTERM\n"));
        g_assert_true(g_file_get_contents(tool->err, &said, NULL, NULL));
        g_assert_nonnull(strstr(said, says));
        g_assert_cmpstr(strchr(strstr(said, says), '\n'), ==, "\n");
}

static void test_closed_by_an_administrator(Fixture *f, const void *data) {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port,
                        SERVING("listen", "--name=web", "0", "--", "python3", "-c", TELL_SIGNALS));
        g_autoptr(ToolResult) result = NULL;

        test_wait_for(tool_has_written(tool, "ready\n"));
        result = tool_run(f->bus, "close", "web", NULL);
        g_assert_cmpint(result->status, ==, 0);
        assert_ends(f, tool, "is lost: an administrator has closed it.");
        g_assert_false(test_service_is_listening(f->service, port));
}

static void test_the_service_stops(Fixture *f, const void *data) {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             SERVING("listen", "0", "--", "python3", "-c", TELL_SIGNALS));

        test_wait_for(tool_has_written(tool, "ready\n"));
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        assert_ends(f, tool, "is lost: the service was stopped; start this again.");
}

static void test_the_bus_goes_away(Fixture *f, const void *data) {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             SERVING("listen", "0", "--", "python3", "-c", TELL_SIGNALS));

        test_wait_for(tool_has_written(tool, "ready\n"));
        g_clear_pointer(&f->client, test_client_free);
        test_bus_kill(f->bus);
        assert_ends(f, tool, "The connection to the bus is lost");
        g_assert_cmpint(test_service_wait_exit(f->service), !=, 0);
}

static void test_what_cannot_be(Fixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *taken = g_strdup_printf("%u", test_get_port(f->client, listener));
        static const struct {
                const char *argv[7];
                const char *says[2];
        } cases[] = {
                { { "listen", "0" }, { "There is no command to run", "after \"--\"" } },
                { { "listen", "0", "--" }, { "There is no command to run", "after \"--\"" } },
                { { "listen", "--max-connections=3", "0", "--", "true" }, { "limits need --accept" } },
                { { "listen", "--delivery=signal", "0", "--", "true" },
                  { "can only be \"socket\"", "--accept" } },
                { { "listen", "--accept", "--delivery=pull", "0", "--", "true" },
                  { "\"socket\" or \"channel\"" } },
                { { "listen", "--paused", "0", "--", "true" },
                  { "Option paused contradicts option delivery" } },
                { { "listen", "--accept", "--paused", "0", "--", "true" },
                  { "--paused needs --persistent" } },
                { { "relay", "--acknowledge", "0", "127.0.0.1:1" },
                  { "--acknowledge is for the delivery \"signal\"", "leave it out" } },
                { { "listen", "192.0.2.77:0", "--", "true" }, { "192.0.2.77" } },
                { { "relay", "0", "nonsense" }, { "\"nonsense\" is no target", "HOST:PORT" } },
                { { "relay", "0", "[::1]:" }, { "\"[::1]:\" is no target" } },
                { { "relay", "0", "::1:80" }, { "\"::1:80\" is no target", "[ADDRESS]:PORT" } },
                { { "relay", "0", "there.is.no.such.host.invalid:80" },
                  { "Cannot find the host \"there.is.no.such.host.invalid\"", "check its name" } },
                { { "listen", "nonsense", "--", "true" }, { "no TCP service \"nonsense\"", "services(5)" } },
                { { "listen", "65536", "--", "true" }, { "\"65536\" is not a port", "from 0 to 65535" } },
                { { "listen", "-1", "--", "true" }, { "-1" } },
                { { "listen", " 80", "--", "true" }, { "\" 80\" is not a port" } },
                { { "listen", "[::1]:", "--", "true" }, { "\"[::1]:\" is not a port" } },
                { { "listen", "localhost:0", "--", "true" },
                  { "\"localhost\" is not an IP address", "127.0.0.1" } },
                { { "listen", "[127.0.0.1:0", "--", "true" }, { "\"[127.0.0.1\" is not an IP address" } },
                { { "listen", "--allow-from=192.0.2.0/33", "0", "--", "true" },
                  { "allowFrom", "tcpserversocketctl(1)" } },
                { { "listen", ":80", "--", "true" }, { "no address before the port in \":80\"" } },
                { { "relay", "0", "localhost:nonsense" }, { "no TCP service \"nonsense\"" } },
                { { "relay", "0", "localhost:65616" }, { "\"localhost:65616\" is not a port" } },
                { { "relay", "0", "localhost:0" }, { "port 0", "\"localhost:0\"" } },
        };
        g_autoptr(ToolResult) in_use = tool_run(f->bus, "listen", "0", taken, "--", "true", NULL);

        tool_assert_fails(in_use, 1, "in use", taken, NULL);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autoptr(ToolResult) result = tool_run_full(f->bus, NULL, 0, cases[i].argv);

                tool_assert_fails(result, 1, cases[i].says[0], cases[i].says[1], NULL);
        }
}

/* By the names that they have in services(5). */
static void test_ports_by_name(Fixture *f, const void *data) {
        static const char *const names[] = { "http", "127.0.0.1:http", "[::1]:http" };
        uint16_t port;
        g_autoptr(Tool) relay = serving_start(f->bus, &port, SERVING("relay", "0", "localhost:http"));

        g_assert_cmpint(serving_end(relay, SIGTERM), ==, 128 + SIGTERM);

        /* Root would get it. */
        if (!test_require_root())
                return;
        for (size_t i = 0; i < ELEMENTS(names); i++) {
                g_autoptr(ToolResult) denied = tool_run_full(f->bus, NULL, test_other_uid(0),
                                                             SERVING("listen", names[i], "--", "true"));

                tool_assert_fails(denied, 1, "Failed to listen on port 80: ", NULL);
        }
}

int main(int argc, char *argv[]) {
        struct rlimit limit;

        test_init(&argc, &argv);
        (void) test_enter_private_network();
        /* So that it shows when somebody raises it. */
        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = MIN(limit.rlim_max / 2, 512);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));

#define ADD(path, test) g_test_add(path, Fixture, NULL, fixture_set_up, test, fixture_tear_down)
        ADD("/listen/passes several sockets", test_passes_sockets);
        ADD("/listen/names them", test_a_name);
        ADD("/listen/the command accepts", test_the_command_accepts);
        ADD("/listen/exit statuses", test_exit_statuses);
        ADD("/listen/finds the command here", test_finds_the_command_here);
        ADD("/listen/ends by the same signal", test_ends_by_the_same_signal);
        ADD("/listen/leaves the command alone", test_leaves_the_command_alone);
        ADD("/listen/passes signals on", test_passes_signals_on);
        ADD("/listen/stops and goes on", test_stops_and_goes_on);
        ADD("/listen/a key is one signal", test_a_key_is_one_signal);
        ADD("/listen/a background job that reads", test_a_background_job_that_reads);
        ADD("/listen/ignored signals stay ignored", test_ignored_signals_stay_ignored);
        ADD("/listen/ignored children", test_ignored_children);
        ADD("/listen/persistent is all or nothing", test_persistent_is_all_or_nothing);
        ADD("/listen/killed", test_killed);
        ADD("/listen/closed by an administrator", test_closed_by_an_administrator);
        ADD("/listen/the service stops", test_the_service_stops);
        ADD("/listen/the bus goes away", test_the_bus_goes_away);
        ADD("/listen/ports by name", test_ports_by_name);
        ADD("/listen/what cannot be", test_what_cannot_be);
        return test_run();
}
