/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen" without --accept, and signals: shells, terminals and supervisors see what they would see of the
 * COMMAND alone. When the listener is gone, the COMMAND gets SIGTERM. */

#include "ctl/serving.h"

/* Writes the name of each signal, and exits at SIGTERM. They are blocked before "ready", because a signal
 * right before signal.pause() would be written only with the next one. */
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

static Tool *start_teller(TestBus *bus, uint16_t *ret_port) {
        Tool *tool = serving_start(bus, ret_port,
                                   WORDS("listen", "--name=web", "0", "--", "python3", "-c", TELL_SIGNALS));

        test_wait_for(tool_has_written(tool, "ready\n"));
        return tool;
}

/* A shell shows the same status for exit(128 + number); a supervisor such as systemd does not. */
TEST("ends by the same signal") {
        static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGKILL, SIGUSR1, SIGPIPE, SIGSEGV };

        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                g_autofree char *kill = g_strdup_printf("ulimit -c 0; kill -%d $$", signals[i]);
                uint16_t port;
                g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                                     WORDS("listen", "0", "--", "sh", "-c", kill));

                g_assert_cmpint(test_child_wait(tool->child), ==, 128 + signals[i]);
                g_assert_true(tool->child->by_signal);
                g_assert_false(test_service_is_listening(f->service, port));
        }
}

TEST("passes signals on") {
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
                /* gunicorn changes the number of its workers, and services of systemd their log level. */
                { SIGTTIN, "SIGTTIN" },
                { SIGTTOU, "SIGTTOU" },
                { SIGRTMIN, "SIGRTMIN" },
        };
        uint16_t port;

        /* The tool would keep ignoring signals that the runner of the test ignores. */
        for (size_t i = 0; i < ELEMENTS(signals); i++)
                (void) signal(signals[i].number, SIG_DFL);

        g_autoptr(Tool) tool = start_teller(f->bus, &port);

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

/* In a process group of its own, as a job of a shell. */
TEST("stops and continues with the command") {
        uint16_t port;

        tool_set_up_with(enter_own_group);
        g_autoptr(Tool) tool = start_teller(f->bus, &port);
        tool_set_up_with(NULL);
        pid_t command = serving_get_child(tool->child->pid);
        test_child_signal(tool->child, SIGTSTP);
        test_wait_for(serving_get_state(tool->child->pid) == 'T' && serving_get_state(command) == 'T');
        test_child_signal(tool->child, SIGCONT);
        test_wait_for(serving_get_state(tool->child->pid) == 'S' && tool_has_written(tool, "SIGCONT\n"));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 42);
}

/* The terminal sends SIGINT to the whole group, so the tool must not pass it on. */
TEST("a key is one signal") {
        g_autoptr(Terminal) t = terminal_new(f->bus, NULL, 80,
                                             WORDS("listen", "0", "--", "python3", "-c", TELL_SIGNALS));

        test_wait_for(terminal_shows(t, "ready"));
        terminal_type(t, "\003");
        test_wait_for(terminal_shows(t, "SIGINT"));
        /* Signals arrive in order: all before SIGUSR1 have been passed on. */
        test_child_signal(t->child, SIGUSR1);
        test_wait_for(terminal_shows(t, "SIGUSR1"));
        g_assert_null(strstr(strstr(t->shown->str, "SIGINT") + 1, "SIGINT"));
        test_child_signal(t->child, SIGTERM);
        g_assert_cmpint(terminal_wait(t), ==, 42);
}

/* The shell must see that its background job has stopped. */
TEST_IF(test_require_program("bash"), "a background job that reads") {
        g_autofree char *stopped = g_strdup_printf("<%d>", 128 + SIGTTIN);
        g_autoptr(Terminal) t = terminal_new(
                        f->bus, NULL, 80,
                        WORDS("listen", "0", "--", "bash", "-c",
                              "set -m; \"$TEST_CTL\" listen 0 -- cat & wait $!; echo \"<$?>\"; kill -KILL %1"));

        test_wait_for(terminal_shows(t, stopped));
        g_assert_cmpint(terminal_wait(t), ==, 0);
}

/* As under nohup. */
TEST("ignored signals stay ignored") {
        g_autofree char *directory = test_make_directory("nohup"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autoptr(TestChild) child = tool_spawn(
                        f->bus, log,
                        WORDS("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", g_getenv("TEST_CTL"), "listen",
                              "0", "--", "python3", "-c",
                              "import signal\n"
                              "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
                              "print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, flush=True)\n"
                              "signal.sigwait([signal.SIGUSR1])\n"
                              "print('USR1', flush=True)\n"));

        test_wait_for(test_file_contains(log, "True\n"));
        test_child_signal(child, SIGHUP);
        test_child_signal(child, SIGUSR1);
        g_assert_cmpint(test_child_wait(child), ==, 0);
        g_assert_true(test_file_contains(log, "USR1"));
}

/* Some supervisors ignore SIGCHLD; the kernel then reaps children. COMMAND inherits what the tool found. */
TEST("works where SIGCHLD is ignored") {
        g_autofree char *directory = test_make_directory("children"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autoptr(TestChild) child = tool_spawn(
                        f->bus, log,
                        WORDS("python3", "-c",
                              "import os, signal, sys\n"
                              "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
                              "os.execv(sys.argv[1], sys.argv[1:])\n",
                              g_getenv("TEST_CTL"), "listen", "--quiet", "0", "--", "python3", "-c",
                              "import signal, sys\n"
                              "print(signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN)\n"
                              "sys.exit(7)\n"));

        g_assert_cmpint(test_child_wait(child), ==, 7);
        g_assert_true(test_file_contains(log, "True\n"));
}

/* The port is free, and the COMMAND gets SIGTERM. */
TEST("killed, it ends the command") {
        uint16_t port;
        g_autoptr(Tool) tool = start_teller(f->bus, &port);

        g_assert_cmpint(serving_end(tool, SIGKILL), ==, 128 + SIGKILL);
        test_wait_for(!test_service_is_listening(f->service, port));
        test_wait_for(tool_has_written(tool, "SIGTERM\n"));
        g_assert_cmpint(test_connect_fails("127.0.0.1", port), ==, ECONNREFUSED);
}

/* --------------------------------------------------------------- all processes of the command end with it */

/* A process in a session of its own. Without "ignore", it ends at SIGTERM and SIGINT. */
#define DETACHED                                                                       \
        "python3 -c \"\n"                                                              \
        "import os, signal, sys\n"                                                     \
        "os.setsid()\n"                                                                \
        "action = signal.SIG_IGN if 'ignore' in sys.argv else signal.SIG_DFL\n"        \
        "for number in signal.SIGTERM, signal.SIGINT: signal.signal(number, action)\n" \
        "print('<%d>' % os.getpid(), flush=True)\n"                                    \
        "while True: signal.pause()\n\" "

static pid_t find_detached(const char *text) {
        const char *place = strchr(text, '<');

        return place && strchr(place, '>') ? (pid_t) atoi(place + 1) : 0;
}

static Tool *start_detached(TestBus *bus, const char *option, const char *script, pid_t *ret) {
        uint16_t port;
        Tool *tool = serving_start(bus, &port, WORDS("listen", option, "0", "--", "sh", "-c", script));

        test_wait_for(tool_has_written(tool, ">\n"));
        g_autofree char *text = test_read_file(tool->out);
        *ret = find_detached(text);
        g_assert_cmpint(serving_get_state(*ret), ==, 'S');
        return tool;
}

TEST("a signal ends all processes") {
        static const int signals[] = { SIGTERM, SIGINT, SIGQUIT };

        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                pid_t detached;
                g_autoptr(Tool) tool = start_detached(f->bus, "--kill-mode=group", DETACHED "; true",
                                                      &detached);

                g_assert_cmpint(serving_end(tool, signals[i]), ==, 128 + signals[i]);
                g_assert_cmpint(serving_get_state(detached), ==, 0);
        }
}

TEST("the end of the command ends all processes") {
        pid_t detached;
        g_autoptr(Tool) tool = start_detached(f->bus, "--kill-mode=group", DETACHED "& exec sleep 1000",
                                              &detached);

        test_child_signal(tool->child, SIGUSR1);
        g_assert_cmpint(test_child_wait(tool->child), ==, 128 + SIGUSR1);
        g_assert_cmpint(serving_get_state(detached), ==, 0);
        g_assert_false(tool_has_complained(tool, "COMMAND"));
}

/* It has another process group than the terminal. */
TEST("a key ends all processes") {
        g_autoptr(Terminal) t = terminal_new(f->bus, NULL, 80,
                                             WORDS("listen", "0", "--", "sh", "-c", DETACHED "; true"));

        test_wait_for(terminal_shows(t, ">"));
        pid_t detached = find_detached(t->shown->str);
        terminal_type(t, "\003");
        g_assert_cmpint(terminal_wait(t), ==, 128 + SIGINT);
        g_assert_cmpint(serving_get_state(detached), ==, 0);
}

TEST("processes that ignore SIGTERM are killed") {
        pid_t detached;
        g_autoptr(Tool) tool = start_detached(f->bus, "--kill-after=200ms", DETACHED "ignore; true",
                                              &detached);

        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_cmpint(serving_get_state(detached), ==, 0);
        g_assert_true(tool_has_complained(tool,
                                          "have not ended in time and are killed; see --kill-after=.\n"));
}

TEST("a second ^C does not wait for them") {
        g_autoptr(Terminal) t = terminal_new(f->bus, NULL, 80,
                                             WORDS("listen", "--kill-after=infinity", "0", "--", "sh", "-c",
                                                   DETACHED "ignore & exec sleep 1000"));

        test_wait_for(terminal_shows(t, ">"));
        pid_t detached = find_detached(t->shown->str);
        terminal_type(t, "\003");
        test_wait_for(serving_count_children(t->child->pid) == 1 &&
                      serving_get_child(t->child->pid) == detached);
        g_assert_cmpint(serving_get_state(detached), ==, 'S');
        terminal_type(t, "\003");
        g_assert_cmpint(terminal_wait(t), ==, 128 + SIGINT);
        g_assert_cmpint(serving_get_state(detached), ==, 0);
}

TEST("SIGINT does not wait for a command that ignores SIGTERM") {
        pid_t detached;
        g_autoptr(Tool) tool = start_detached(
                        f->bus, "--kill-after=infinity",
                        "trap 'echo TERM' TERM; " DETACHED "ignore & while :; do wait; done", &detached);

        test_child_signal(tool->child, SIGTERM);
        test_wait_for(tool_has_written(tool, "TERM\n"));
        test_child_signal(tool->child, SIGINT);
        g_assert_cmpint(test_child_wait(tool->child), ==, 128 + SIGKILL);
        g_assert_cmpint(serving_get_state(detached), ==, 0);
}

TEST("a wait for the end is explained") {
        static const struct {
                const char *option;
                int signal;
                const char *text;
        } cases[] = {
                { "--kill-mode=group", SIGINT, "COMMAND has not ended after SIGINT; \"kill " },
                { "--kill-mode=group", SIGTERM, " has not ended after SIGTERM; Ctrl+C or \"kill -INT " },
                { "--kill-mode=process", SIGTERM, "COMMAND has not ended after SIGTERM; \"kill -KILL " },
        };
        Tool *tools[ELEMENTS(cases)];
        pid_t processes[ELEMENTS(cases)];

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                tools[i] = start_detached(f->bus, cases[i].option, "exec " DETACHED "ignore", processes + i);
                test_child_signal(tools[i]->child, cases[i].signal);
        }
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autoptr(Tool) tool = tools[i];

                test_wait_for(tool_has_complained(tool, cases[i].text));
                g_assert_cmpint(serving_get_state(processes[i]), ==, 'S');
                g_assert_no_errno(kill(processes[i], SIGKILL));
                g_assert_cmpint(test_child_wait(tool->child), ==, 128 + SIGKILL);
        }
}

TEST("a command that moves to the background with --kill-mode=process") {
        pid_t detached;
        g_autoptr(Tool) tool = start_detached(f->bus, "--kill-mode=process", DETACHED "&", &detached);

        g_assert_cmpint(test_child_wait(tool->child), ==, 0);
        g_assert_true(tool_has_complained(tool,
                                          "closes its ports; a server has to stay in the foreground.\n"));
        g_assert_no_errno(kill(detached, SIGKILL));
}

TEST("other processes live on with --kill-mode=process") {
        pid_t detached;
        g_autoptr(Tool) tool = start_detached(f->bus, "--kill-mode=process", DETACHED "; true", &detached);

        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_cmpint(serving_get_state(detached), ==, 'S');
        g_assert_no_errno(kill(detached, SIGKILL));
}

/* ------------------------------------------------------------------------------------- the listener ends */

/* The COMMAND cannot detect the loss of its listener, and gets SIGTERM. */
static void assert_ends(Fixture *f, Tool *tool, const char *says) {
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
        g_assert_true(tool_has_written(tool, "SIGTERM\n"));
        g_autofree char *said = test_read_file(tool->err);
        g_assert_nonnull(strstr(said, says));
        g_assert_cmpstr(strchr(strstr(said, says), '\n'), ==, "\n");
}

TEST_IF(test_require_root(), "closed by an administrator") {
        uint16_t port;
        g_autoptr(Tool) tool = start_teller(f->bus, &port);

        tool_do(f->bus, "close", "web");
        assert_ends(f, tool, "is lost: an administrator has closed it.");
        g_assert_false(test_service_is_listening(f->service, port));
}

TEST("the service stops") {
        uint16_t port;
        g_autoptr(Tool) tool = start_teller(f->bus, &port);

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        assert_ends(f, tool, "is lost: the service was stopped; run the command again.");
}

TEST("the bus goes away") {
        uint16_t port;
        g_autoptr(Tool) tool = start_teller(f->bus, &port);

        g_clear_pointer(&f->client, test_client_free);
        test_bus_kill(f->bus);
        assert_ends(f, tool, "The connection to the bus is lost");
        g_assert_cmpint(test_service_wait_exit(f->service), !=, 0);
}
