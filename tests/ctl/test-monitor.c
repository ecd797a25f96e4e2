/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* monitor: connections and errors as they come, and no harm to those who are watched. */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "ctl/tool.h"

typedef const char *const Words[];

/* When it returns, everything is seen. */
static Tool *watch(Fixture *f, const char *const *argv) {
        Tool *tool = tool_start(f->bus, NULL, 0, argv);

        test_wait_for(test_child_has_exited(tool->child) ||
                      tool_has_complained(tool, "Monitoring listeners"));
        g_assert_false(test_child_has_exited(tool->child));
        return tool;
}

/* A peer that has connected, and that the client has. */
static int connect_peer(Fixture *f, const char *listener) {
        int peer = test_connect("127.0.0.1", test_get_port(f->client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(peer));
        return peer;
}

/* One that goes again. */
static void meet_peer(Fixture *f, const char *listener) {
        close(connect_peer(f, listener));
}

static json_object *read_line(Tool *tool, unsigned number) {
        g_autofree char *text = NULL;
        g_auto(GStrv) lines = NULL;

        g_assert_true(g_file_get_contents(tool->out, &text, NULL, NULL));
        lines = g_strsplit(text, "\n", -1);
        g_assert_cmpuint(g_strv_length(lines), >, number);
        return json_tokener_parse(lines[number]);
}

static void test_connections(Fixture *f, const void *data) {
        g_autoptr(Tool) people = watch(f, (Words) { "monitor", NULL }),
                        programs = watch(f, (Words) { "monitor", "-j", NULL });
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        _cleanup_close_ int peer = connect_peer(f, listener);
        g_autofree char *line = g_strdup_printf(
                        " listener 1: connection 1 from 127.0.0.1:%u to 127.0.0.1:%u, for %s\n",
                        test_local_port(peer), test_get_port(f->client, listener),
                        test_client_name(f->client));
        g_autoptr(json_object) event = NULL;

        test_wait_for(tool_has_written(people, line));
        test_wait_for(tool_has_written(programs, "}\n"));
        event = read_line(programs, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "serial", "int", "remoteAddress", "string",
                            "remotePort", "int", "localAddress", "string", "localPort", "int", "binaryType",
                            "string", NULL);
        g_assert_cmpstr(json_get_string(event, "event"), ==, "connection");
        g_assert_cmpstr(json_get_string(event, "path"), ==, listener);
        g_assert_cmpstr(json_get_string(event, "client"), ==, test_client_name(f->client));
        g_assert_cmpstr(json_get_string(event, "remoteAddress"), ==, "127.0.0.1");
        g_assert_cmpuint(json_get_number(event, "remotePort"), ==, test_local_port(peer));
        g_assert_cmpuint(json_get_number(event, "localPort"), ==, test_get_port(f->client, listener));
}

static void test_ends(Fixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(Tool) people = watch(f, (Words) { "monitor", NULL }),
                        programs = watch(f, (Words) { "monitor", "--json=short", NULL });
        g_autoptr(json_object) event = NULL;

        test_listener_call(f->client, listener, "Close");
        test_wait_for(tool_has_written(people, " listener 1: closed (owner)\n"));
        test_wait_for(tool_has_written(programs, "}\n"));
        event = read_line(programs, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "reason", "string", NULL);
        g_assert_cmpstr(json_get_string(event, "event"), ==, "closed");
        g_assert_cmpstr(json_get_string(event, "reason"), ==, "owner");
}

/* A client that takes no descriptors is found out, and its listener ends. */
static void test_errors(Fixture *f, const void *data) {
        g_autoptr(TestClient) unfit = test_client_new_full(f->bus, (uid_t) -1, TEST_CLIENT_NO_FDS);
        g_autoptr(Tool) people = watch(f, (Words) { "monitor", NULL }),
                        programs = watch(f, (Words) { "monitor", "--json=short", NULL });
        g_autofree char *listener = test_listen(unfit, 0, -1, NULL);
        g_autoptr(TestError) error = test_client_wait_error(unfit);
        /* People see it without its identity. */
        g_autofree char *text = g_strdup_printf(" listener 1: error: %.*s (%s:%u)\n",
                                                (int) (strrchr(error->message, '[') - error->message - 1),
                                                error->message, error->filename, error->line);
        g_autoptr(json_object) event = NULL;

        test_wait_for(tool_has_written(people, text));
        test_wait_for(tool_has_written(programs, "}\n"));
        event = read_line(programs, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "message", "string", "filename", "string",
                            "lineNumber", "int", "columnNumber", "int", NULL);
        g_assert_cmpstr(json_get_string(event, "path"), ==, listener);
        g_assert_cmpstr(json_get_string(event, "message"), ==, error->message);
        g_assert_cmpuint(json_get_number(event, "lineNumber"), ==, error->line);
}

static void test_pull(Fixture *f, const void *data) {
        g_autoptr(Tool) tool = watch(f, (Words) { "monitor", "--json=short", NULL }),
                        people = watch(f, (Words) { "monitor", NULL });
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_autoptr(TestNotice) pending = test_client_wait_pending(f->client);
        g_autoptr(GPtrArray) connections = test_accept(f->client, listener, 5, 1000);
        g_autoptr(json_object) first = NULL, second = NULL;
        g_autofree char *line = g_strdup_printf(" listener 1: a connection waits for %s\n",
                                                test_client_name(f->client));

        g_assert_cmpstr(pending->listener, ==, listener);
        g_assert_cmpuint(connections->len, ==, 1);
        test_wait_for(tool_has_written(tool, "\"connection\""));
        first = read_line(tool, 0);
        json_assert_members(first, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", NULL);
        g_assert_cmpstr(json_get_string(first, "event"), ==, "pending");
        second = read_line(tool, 1);
        g_assert_cmpstr(json_get_string(second, "path"), ==, listener);
        g_assert_cmpuint(json_get_number(second, "remotePort"), ==, test_local_port(peer));
        test_wait_for(tool_has_written(people, line));
}

static void test_channel(Fixture *f, const void *data) {
        uint64_t serial;
        g_autoptr(Tool) tool = watch(f, (Words) { "monitor", "--json=short", NULL }),
                        people = watch(f, (Words) { "monitor", NULL });
        g_autofree char *line = g_strdup_printf(" listener 1: 1 connection through the channel of %s\n",
                                                test_client_name(f->client));
        g_autofree char *listener = test_listen(f->client, 0, -1, "delivery", "s", "channel", NULL);
        _cleanup_close_ int channel = test_listener_call_fd(f->client, listener, "OpenChannel");
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        _cleanup_close_ int ours = test_channel_receive(channel, &serial);
        g_autoptr(json_object) event = NULL;

        test_assert_connected(peer, ours);
        test_wait_for(tool_has_written(tool, "}\n"));
        event = read_line(tool, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "count", "int", NULL);
        g_assert_cmpstr(json_get_string(event, "event"), ==, "connections");
        g_assert_cmpuint(json_get_number(event, "count"), ==, 1);
        test_wait_for(tool_has_written(people, line));
}

static void test_one_listener(Fixture *f, const void *data) {
        g_autofree char *first = test_listen(f->client, 0, -1, "name", "s", "web", NULL),
                        *second = test_listen(f->client, 0, -1, NULL);
        g_autoptr(Tool) tool = watch(f, (Words) { "monitor", "web", NULL });

        meet_peer(f, second);
        meet_peer(f, first);
        test_wait_for(tool_has_written(tool, " listener 1: connection 1 from "));
        g_assert_false(tool_has_written(tool, " listener 2"));
}

static void test_jq(Fixture *f, const void *data) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        g_autofree char *directory = test_make_directory("jq"),
                        *out = g_build_filename(directory, "out", NULL);
        const char *const environment[] = { address, NULL };
        const char *const argv[] = {
                "sh", "-c",
                "\"$0\" monitor --json=short |"
                " jq --unbuffered --raw-output '\"\\(.event) \\(.listener) \\(.remotePort) \\(.reason)\"'",
                g_getenv("TEST_CTL"), NULL
        };
        TestSpawn options = { .environment = environment, .log = out };
        g_autoptr(TestChild) child = NULL;
        g_autofree char *listener = NULL, *expected = NULL;

        if (!test_require_program("jq"))
                return;

        child = test_child_new(argv, &options);
        test_wait_for(test_file_contains(out, "Monitoring listeners"));
        listener = test_listen(f->client, 0, -1, NULL);
        {
                _cleanup_close_ int peer = connect_peer(f, listener);

                expected = g_strdup_printf("\nconnection 1 %u null\nclosed 1 null owner\n",
                                           test_local_port(peer));
        }
        test_listener_call(f->client, listener, "Close");
        test_wait_for(test_file_contains(out, expected));
}

/* A connection that the monitor has heard of is closed when its peer and its owner say so: it keeps none. */
static void test_keeps_no_connection(Fixture *f, const void *data) {
        g_autoptr(Tool) tool = watch(f, (Words) { "monitor", NULL });
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        _cleanup_close_ int peer = connect_peer(f, listener);

        test_wait_for(tool_has_written(tool, "connection 1"));
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

static void write_to(void *data) {
        g_assert_no_errno(dup2(*(int *) data, STDOUT_FILENO));
}

static unsigned count_events(const char *text) {
        unsigned n = 0;

        for (; (text = strstr(text, "\"event\": \"connection\"")); text++)
                n++;
        return n;
}

/* Nobody reads what it writes: it reads all the same, or the bus would stop the service. */
static void test_a_reader_that_hangs(Fixture *f, const void *data) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        g_autofree char *directory = test_make_directory("hang"),
                        *log = g_build_filename(directory, "log", NULL);
        const char *const environment[] = { address, NULL };
        g_autoptr(GString) written = g_string_new(NULL);
        g_autoptr(TestChild) child = NULL;
        g_autofree char *listener = NULL;
        TestSpawn options = { .environment = environment, .log = log, .setup = write_to };
        char buffer[4096];
        int ends[2];
        ssize_t n;

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        options.data = ends + 1;
        child = test_child_new((Words) { g_getenv("TEST_CTL"), "monitor", "--json=pretty", NULL }, &options);
        close(ends[1]);
        test_wait_for(test_file_contains(log, "Monitoring listeners"));
        listener = test_listen(f->client, 0, -1, NULL);

        /* More than a pipe holds, and far more than the bus lets wait. */
        for (unsigned i = 0; i < 500; i++)
                meet_peer(f, listener);

        /* All of it is kept. */
        while (count_events(written->str) < 500) {
                (void) test_wait_fd(ends[0], POLLIN);
                n = read(ends[0], buffer, sizeof(buffer));
                g_assert_cmpint(n, >, 0);
                g_string_append_len(written, buffer, n);
        }
        close(ends[0]);
        g_assert_cmpint(test_child_wait(child), ==, 0);
}

/* Stopped from the keyboard, it is not on the bus; in the foreground again, it is. */
static void test_stopping(Fixture *f, const void *data) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(Tool) tool = watch(f, (Words) { "monitor", NULL });
        g_autofree char *stat = g_strdup_printf("/proc/%i/stat", (int) tool->child->pid);

        test_child_signal(tool->child, SIGTSTP);
        test_wait_for(test_file_contains(stat, ") T "));
        for (unsigned i = 0; i < 200; i++)
                meet_peer(f, listener);
        test_child_signal(tool->child, SIGCONT);
        test_wait_for(!test_file_contains(stat, ") T "));
        /* How soon it is back is not said, so that peers come until one is seen. */
        for (unsigned i = 0; !tool_has_written(tool, " listener 1: connection ") && i < 10000; i++)
                meet_peer(f, listener);
        test_wait_for(tool_has_written(tool, " listener 1: connection "));
        g_assert_false(tool_has_written(tool, ": connection 1 "));
}

static void test_a_reader_that_goes(Fixture *f, const void *data) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        g_autofree char *directory = test_make_directory("goes"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autofree char *line = g_strdup_printf("{ %s monitor 2>%s; echo \"status $?\" >>%s; } | true",
                                                g_getenv("TEST_CTL"), log, log);
        const char *const environment[] = { address, NULL };
        TestSpawn options = { .environment = environment };
        g_autoptr(TestChild) child = test_child_new((Words) { "sh", "-c", line, NULL }, &options);

        /* Nothing has to happen for it to see that. */
        g_assert_cmpint(test_child_wait(child), ==, 0);
        g_assert_true(test_file_contains(log, "status 0"));
}

static void test_no_right(Fixture *f, const void *data) {
        uid_t uid = geteuid() == 0 ? test_other_uid(0) : 0;
        g_autoptr(ToolResult) result = tool_run_full(f->bus, NULL, uid, (Words) { "monitor", NULL });

        tool_assert_fails(result, 1, "does not allow you", "run the command as root", NULL);
}

static void test_a_bus_that_ends(Fixture *f, const void *data) {
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(Tool) tool = tool_start(bus, NULL, 0, (Words) { "monitor", NULL });

        test_wait_for(tool_has_complained(tool, "Monitoring listeners"));
        test_bus_kill(bus);
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
        g_assert_true(tool_has_complained(tool, "The bus has closed the connection"));
}

static void skip(Fixture *f, const void *data) {
        (void) test_require_root();
}

int main(int argc, char *argv[]) {
        bool root = geteuid() == 0;

        test_init(&argc, &argv);
        (void) test_enter_private_network();

#define ADD_ANY(path, test) \
        g_test_add("/monitor/" path, Fixture, NULL, fixture_set_up, test, fixture_tear_down)
/* Only root may become a monitor. */
#define ADD(path, test) ADD_ANY(path, root ? test : skip)
        ADD("connections", test_connections);
        ADD("ends", test_ends);
        ADD("errors", test_errors);
        ADD("what is pulled", test_pull);
        ADD("what goes through a channel", test_channel);
        ADD("one listener", test_one_listener);
        ADD("jq understands it", test_jq);
        ADD("keeps no connection", test_keeps_no_connection);
        ADD("a reader that hangs stops nobody", test_a_reader_that_hangs);
        ADD("stopping it stops nobody", test_stopping);
        ADD("a reader that goes", test_a_reader_that_goes);
        ADD_ANY("no right", test_no_right);
        ADD("a bus that ends", test_a_bus_that_ends);
        return test_run();
}
