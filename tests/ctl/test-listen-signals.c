/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen" without --accept, and signals: shells, terminals and supervisors see what they would see of the
 * COMMAND alone, which is told to end when the listener is gone. */

#include <signal.h>
#include <string.h>
#include <unistd.h>

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
        /* Without polkit, only root may close the listener of another connection. */
        if (!test_require_root())
                return;

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
        assert_ends(f, tool, "is lost: the service was stopped; run the command again.");
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

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();

#define ADD(path, test) \
        g_test_add("/listen signals/" path, Fixture, NULL, fixture_set_up, test, fixture_tear_down)
        ADD("ends by the same signal", test_ends_by_the_same_signal);
        ADD("passes signals on", test_passes_signals_on);
        ADD("stops and goes on", test_stops_and_goes_on);
        ADD("a key is one signal", test_a_key_is_one_signal);
        ADD("a background job that reads", test_a_background_job_that_reads);
        ADD("ignored signals stay ignored", test_ignored_signals_stay_ignored);
        ADD("ignored children", test_ignored_children);
        ADD("killed", test_killed);
        ADD("closed by an administrator", test_closed_by_an_administrator);
        ADD("the service stops", test_the_service_stops);
        ADD("the bus goes away", test_the_bus_goes_away);
        return test_run();
}
