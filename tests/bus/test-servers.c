/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Servers of several frameworks that have taken the listening socket (examples/servers), and stop when they
 * get Closed. */

#include <sys/stat.h>
#include <time.h>

#include "bus/fixture.h"

#define SECOND UINT64_C(1000000)

/* The grace period and a second. */
#define WATCH_USEC (2 * SECOND)

typedef struct Server {
        TestChild *process;
        char *log; /* standard output and error */
        char *output;
        char *listener;
        uint16_t port;
        int command;       /* the writing end of a FIFO that the command of the server reads */
        uint64_t cpu_usec; /* when it got Closed */
} Server;

static void assert_greets(uint16_t port) {
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        char greeting[2];

        (void) test_wait_fd(peer, POLLIN);
        g_assert_cmpint(recv(peer, greeting, sizeof(greeting), 0), ==, 1);
        g_assert_cmpint(greeting[0], ==, '!');
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

/* The n-th server of the service. */
static void server_start(Server *server, Fixture *f, const char *program, unsigned n) {
        g_autofree char *address = g_strconcat("DBUS_SYSTEM_BUS_ADDRESS=", test_bus_address(f->bus), NULL),
                        *name = g_strdup_printf("server-%u", n), *directory = test_make_directory(name);
        const char *const environment[] = { address, NULL };
        g_autofree char *fifo = g_build_filename(directory, "fifo", NULL);

        g_assert_no_errno(mkfifo(fifo, 0600));
        server->command = open(fifo, O_RDWR | O_CLOEXEC);
        g_assert_no_errno(server->command);
        server->log = g_build_filename(directory, "log", NULL);
        test_show_on_failure(server->log);
        server->process = test_child_new(WORDS(program, "cat", fifo),
                                         &(TestSpawn) { .environment = environment, .log = server->log });
        server->listener = g_strdup_printf(TEST_MANAGER_PATH "/listener/%u", n);

        test_wait_for(test_file_contains(server->log, "\n") || test_child_has_exited(server->process));
        server->output = test_read_file(server->log);
        server->port = (uint16_t) g_ascii_strtoull(server->output, NULL, 10);
        g_assert_cmpuint(server->port, >, 0);
        assert_greets(server->port);
}

static uint64_t server_get_cpu_usec(const Server *server) {
        struct timespec time;
        clockid_t clock;

        /* Finer than the ticks of /proc/PID/stat. */
        g_assert_cmpint(clock_getcpuclockid(server->process->pid, &clock), ==, 0);
        g_assert_no_errno(clock_gettime(clock, &time));
        return (uint64_t) time.tv_sec * SECOND + (uint64_t) time.tv_nsec / 1000U;
}

static void server_assert_idle(const Server *server, uint64_t since) {
        uint64_t cpu_usec = server_get_cpu_usec(server) - server->cpu_usec, usec = test_now() - since;

        g_assert_false(test_child_has_exited(server->process));
        g_test_message("%u us of CPU in %u ms", (unsigned) cpu_usec, (unsigned) (usec / 1000));
        g_assert_cmpuint(cpu_usec, <, usec / 100);
        g_autofree char *output = test_read_file(server->log);
        g_assert_cmpstr(output, ==, server->output);
}

static void server_done(Server *server) {
        close_fd(server->command);
        test_child_free(server->process);
        test_forget(server->log);
        g_free(server->log);
        g_free(server->output);
        g_free(server->listener);
}

typedef enum End {
        ADMINISTRATOR,
        LIFELINE,
        SHUTDOWN, /* last, as it ends the others, too */
        N_ENDS,
} End;

static void end(Fixture *f, Server *server, End end) {
        switch (end) {
        case ADMINISTRATOR:
                test_listener_call(f->client, server->listener, "Close");
                break;

        case LIFELINE:
                server->command = close_fd(server->command);
                test_wait_for(!test_service_is_listening(f->service, server->port));
                break;

        default:
                g_assert_no_errno(kill(test_service_pid(f->service), SIGTERM));
                g_assert_cmpint(test_service_wait_exit(f->service), ==, 0);
        }

        g_assert_cmpint(test_connect_fails("127.0.0.1", server->port), ==, ECONNREFUSED);
}

static void assert_stops_quietly(Fixture *f, const char *program) {
        /* Only root may close the listener of another connection. */
        End first = geteuid() == 0 ? ADMINISTRATOR : LIFELINE;
        Server servers[N_ENDS] = {};
        uint64_t starts[N_ENDS];
        unsigned n = 0;

        for (End e = first; e < N_ENDS; e++)
                server_start(servers + e, f, program, ++n);

        for (End e = first; e < N_ENDS; e++) {
                starts[e] = test_now();
                servers[e].cpu_usec = server_get_cpu_usec(servers + e);
                end(f, servers + e, e);
        }

        test_wait_for(test_now() >= starts[SHUTDOWN] + WATCH_USEC);
        for (End e = first; e < N_ENDS; e++)
                server_assert_idle(servers + e, starts[e]);

        for (End e = first; e < N_ENDS; e++)
                server_done(servers + e);
}

static void assert_script_stops_quietly(Fixture *f, const char *name, const char *module) {
        g_autofree char *program = g_build_filename(g_getenv("TEST_SOURCE_ROOT"), "examples/servers", name,
                                                    NULL);

        if (!test_require_program("/usr/bin/python3"))
                return;
        if (test_run_command_in(-1, WORDS("/usr/bin/python3", "-c", module)) != 0) {
                g_autofree char *reason = g_strdup_printf("needs Python with \"%s\"", module);

                g_test_skip(reason);
                return;
        }
        assert_stops_quietly(f, program);
}

TEST("a GSocketService stops without a warning and without work") {
        assert_stops_quietly(f, g_getenv("TEST_SERVER_GIO"));
}

TEST("a server of asyncio stops without a warning and without work") {
        assert_script_stops_quietly(f, "serve-asyncio.py", "import dbus_next");
}

TEST("a server of socketserver stops without a warning and without work") {
        assert_script_stops_quietly(f, "serve-socketserver.py", "import dbus, gi");
}

TEST("a QTcpServer stops without a warning and without work") {
        const char *program = g_getenv("TEST_SERVER_QT");

        if (!program)
                g_test_skip("needs QtDBus and QtNetwork of Qt 5");
        else
                assert_stops_quietly(f, program);
}
