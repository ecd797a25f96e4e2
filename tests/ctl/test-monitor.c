/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* monitor shows connections and errors, and does not affect the clients. */

#include "ctl/tool.h"

/* From its return on, the monitor receives all messages. */
static Tool *watch(Fixture *f, const char *const *argv) {
        Tool *tool = tool_start(f->bus, NULL, 0, argv);

        test_wait_for(test_child_has_exited(tool->child) ||
                      tool_has_complained(tool, "Monitoring listeners"));
        g_assert_false(test_child_has_exited(tool->child));
        return tool;
}

/* A peer that is connected to the client. */
static int connect_peer(Fixture *f, const char *listener) {
        int peer = test_connect("127.0.0.1", test_get_port(f->client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(peer));
        return peer;
}

static void meet_peer(Fixture *f, const char *listener) {
        close(connect_peer(f, listener));
}

/* Returns the nth event of this kind, or of any but "listening" (NULL), or NULL if it is not there yet. */
static json_object *find_event(Tool *tool, const char *kind, unsigned n) {
        g_auto(GStrv) lines = NULL;

        g_autofree char *text = test_read_file(tool->out);
        lines = g_strsplit(text, "\n", -1);
        /* The last one is not complete. */
        for (char **line = lines; *line && line[1]; line++) {
                json_object *o = json_tokener_parse(*line);
                const char *event = json_get_string(o, "event");

                if ((kind ? streq(event, kind) : !streq(event, "listening")) && n-- == 0)
                        return o;
                json_object_put(o);
        }
        return NULL;
}

static json_object *wait_event(Tool *tool, const char *kind, unsigned n) {
        json_object *o = NULL;

        test_wait_for((o = find_event(tool, kind, n)));
        return o;
}

static json_object *read_line(Tool *tool, unsigned number) {
        return wait_event(tool, NULL, number);
}

TEST_IF(test_require_root(), "connections") {
        g_autoptr(Tool) people = watch(f, WORDS("monitor")),
                        programs = watch(f, WORDS("monitor", "--json=short"));
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        _cleanup_close_ int peer = connect_peer(f, listener);
        g_autofree char *line = g_strdup_printf(
                        " listener 1: connection 1 from 127.0.0.1:%u to 127.0.0.1:%u, for %s\n",
                        test_local_port(peer), test_get_port(f->client, listener),
                        test_client_name(f->client));

        test_wait_for(tool_has_written(people, line));
        test_wait_for(tool_has_written(programs, "}\n"));
        g_autoptr(json_object) event = read_line(programs, 0);
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

TEST_IF(test_require_root(), "listeners that end") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(Tool) people = watch(f, WORDS("monitor")),
                        programs = watch(f, WORDS("monitor", "--json=short"));

        test_listener_call(f->client, listener, "Close");
        test_wait_for(tool_has_written(people, " listener 1: closed (owner)\n"));
        test_wait_for(tool_has_written(programs, "}\n"));
        g_autoptr(json_object) event = read_line(programs, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "reason", "string", NULL);
        g_assert_cmpstr(json_get_string(event, "event"), ==, "closed");
        g_assert_cmpstr(json_get_string(event, "reason"), ==, "owner");
}

TEST_IF(test_require_root(), "listeners that are new") {
        g_autoptr(Tool) people = watch(f, WORDS("monitor")),
                        programs = watch(f, WORDS("monitor", "--json=short"));
        g_autofree char *first = test_listen(f->client, 0, -1, "name", "s", "web", TEST_SOCKET, NULL);
        g_autofree char *second = test_listen(f->client, 0, -1, TEST_PERSISTENT, "localAddress", "s",
                                              "127.0.0.1", NULL);
        g_autofree char *web = g_strdup_printf(" listener 1: listening on [::]:%u for %s, \"web\"\n",
                                               test_get_port(f->client, first), test_client_name(f->client));
        g_autofree char *other = g_strdup_printf(" listener 2: listening on 127.0.0.1:%u for %s\n",
                                                 test_get_port(f->client, second),
                                                 test_client_name(f->client));

        test_wait_for(tool_has_written(people, web));
        test_wait_for(tool_has_written(people, other));
        g_autoptr(json_object) event = wait_event(programs, "listening", 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "localAddress", "string", "localPort", "int",
                            "name", "string", "delivery", "string", "persistent", "boolean", NULL);
        g_assert_cmpstr(json_get_string(event, "path"), ==, first);
        g_assert_cmpuint(json_get_number(event, "localPort"), ==, test_get_port(f->client, first));
        g_assert_cmpstr(json_get_string(event, "delivery"), ==, "socket");
}

/* No signal is sent. */
TEST_IF(test_require_root(), "listeners that end without an owner") {
        g_autofree char *old = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autoptr(Tool) people = watch(f, WORDS("monitor")),
                        programs = watch(f, WORDS("monitor", "--json=short"));
        g_autoptr(TestClient) next = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *with = test_listen(f->client, 0, -1, TEST_SOCKET, NULL);

        test_wait_for(tool_has_written(people, " listener 2: listening on "));
        g_clear_pointer(&f->client, test_client_free);
        test_wait_for(tool_has_written(people, " listener 2: closed (owner)\n"));
        test_wait_for(!test_has_owner(next, old));
        g_autoptr(json_object) first = wait_event(programs, "closed", 0);
        g_assert_cmpstr(json_get_string(first, "path"), ==, with);
        g_assert_cmpstr(json_get_string(first, "reason"), ==, "owner");
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_listener_call(f->client, old, "Close");
        test_wait_for(tool_has_written(people, " listener 1: closed ("));
        g_autoptr(json_object) second = wait_event(programs, "closed", 1);
        g_assert_cmpstr(json_get_string(second, "path"), ==, old);
}

TEST_IF(test_require_root(), "the end and the start of the service") {
        g_autoptr(Tool) people = watch(f, WORDS("monitor")),
                        programs = watch(f, WORDS("monitor", "--json=short"));

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        test_service_free(f->service);
        test_wait_for(tool_has_written(people, " service stopped (:"));
        f->service = test_service_new(f->bus, NULL);
        test_wait_for(tool_has_written(people, " service started (:"));
        g_autoptr(json_object) stopped = wait_event(programs, "service", 0),
                               started = wait_event(programs, "service", 1);
        json_assert_members(stopped, "event", "string", "realtimeUSec", "int", "client", "string", "state",
                            "string", NULL);
        g_assert_cmpstr(json_get_string(stopped, "state"), ==, "stopped");
        g_assert_cmpstr(json_get_string(started, "state"), ==, "running");
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        test_wait_for(tool_has_written(people, " listener 1: listening on "));
}

/* A connection is lost in a channel that is closed. */
TEST_IF(test_require_root(), "errors") {
        g_autoptr(Tool) people = watch(f, WORDS("monitor")),
                        programs = watch(f, WORDS("monitor", "--json=short"));
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, NULL);
        int channel = test_listener_call_fd(f->client, listener, "OpenChannel");
        _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", test_get_port(f->client, listener));

        test_wait_for(test_get_u64(f->client, listener, "Accepted") == 1);
        close_fd(channel);
        g_autoptr(TestError) error = test_client_wait_error(f->client);
        /* People see it without its identity. */
        g_autofree char *text = g_strdup_printf(" listener 1: error: %.*s (%s:%u)\n",
                                                (int) (strrchr(error->message, '[') - error->message - 1),
                                                error->message, error->filename, error->line);

        test_wait_for(tool_has_written(people, text));
        test_wait_for(tool_has_written(programs, "}\n"));
        g_autoptr(json_object) event = read_line(programs, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "message", "string", "filename", "string",
                            "lineNumber", "int", "columnNumber", "int", NULL);
        g_assert_cmpstr(json_get_string(event, "path"), ==, listener);
        g_assert_cmpstr(json_get_string(event, "message"), ==, error->message);
        g_assert_cmpuint(json_get_number(event, "lineNumber"), ==, error->line);
}

TEST_IF(test_require_root(), "connections of delivery pull") {
        g_autoptr(Tool) tool = watch(f, WORDS("monitor", "--json=short")),
                        people = watch(f, WORDS("monitor"));
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_autoptr(TestNotice) pending = test_client_wait_pending(f->client);
        g_autoptr(GPtrArray) connections = test_accept(f->client, listener, 5, 1000);
        g_autofree char *line = g_strdup_printf(" listener 1: a connection waits for %s\n",
                                                test_client_name(f->client));

        g_assert_cmpstr(pending->listener, ==, listener);
        g_assert_cmpuint(connections->len, ==, 1);
        test_wait_for(tool_has_written(tool, "\"connection\""));
        g_autoptr(json_object) first = read_line(tool, 0);
        json_assert_members(first, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", NULL);
        g_assert_cmpstr(json_get_string(first, "event"), ==, "pending");
        g_autoptr(json_object) second = read_line(tool, 1);
        g_assert_cmpstr(json_get_string(second, "path"), ==, listener);
        g_assert_cmpuint(json_get_number(second, "remotePort"), ==, test_local_port(peer));
        test_wait_for(tool_has_written(people, line));
}

TEST_IF(test_require_root(), "connections through a channel") {
        uint64_t serial;
        g_autoptr(Tool) tool = watch(f, WORDS("monitor", "--json=short")),
                        people = watch(f, WORDS("monitor"));
        g_autofree char *line = g_strdup_printf(" listener 1: 1 connection through the channel of %s\n",
                                                test_client_name(f->client));
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int channel = test_listener_call_fd(f->client, listener, "OpenChannel");
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        _cleanup_close_ int ours = test_channel_receive(channel, &serial);

        test_assert_connected(peer, ours);
        test_wait_for(tool_has_written(tool, "}\n"));
        g_autoptr(json_object) event = read_line(tool, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "count", "int", NULL);
        g_assert_cmpstr(json_get_string(event, "event"), ==, "connections");
        g_assert_cmpuint(json_get_number(event, "count"), ==, 1);
        test_wait_for(tool_has_written(people, line));
}

TEST_IF(test_require_root(), "connections that are refused") {
        g_autofree char *old = test_listen(f->client, 0, -1, "allowFrom", "as", WORDS("192.0.2.1"), NULL);
        {
                _cleanup_close_ int before = test_connect("::1", test_get_port(f->client, old));

                (void) test_wait_end(before);
        }
        g_autoptr(Tool) tool = watch(f, WORDS("monitor", "--json=short")),
                        people = watch(f, WORDS("monitor"));
        g_autofree char *new = test_listen(f->client, 0, -1, TEST_CHANNEL, "allowFrom", "as",
                                           WORDS("192.0.2.1"), NULL);
        _cleanup_close_ int channel = test_listener_call_fd(f->client, new, "OpenChannel");
        _cleanup_close_ int a = test_connect("::1", test_get_port(f->client, old)),
                            b = test_connect("::1", test_get_port(f->client, new));

        (void) test_wait_end(a);
        (void) test_wait_end(b);
        test_wait_for(tool_has_written(people, " listener 1: 1 connection refused\n"));
        test_wait_for(tool_has_written(people, " listener 2: 1 connection refused\n"));
        test_wait_for(tool_has_written(tool, "}\n"));
        g_autoptr(json_object) event = read_line(tool, 0);
        json_assert_members(event, "event", "string", "realtimeUSec", "int", "listener", "int", "path",
                            "string", "client", "string", "count", "int", NULL);
        g_assert_cmpstr(json_get_string(event, "event"), ==, "refused");
        g_assert_cmpuint(json_get_number(event, "count"), ==, 1);
}

TEST_IF(test_require_root(), "one listener") {
        g_autofree char *first = test_listen(f->client, 0, -1, "name", "s", "web", NULL),
                        *second = test_listen(f->client, 0, -1, NULL);
        g_autoptr(Tool) tool = watch(f, WORDS("monitor", "web"));

        meet_peer(f, second);
        meet_peer(f, first);
        test_wait_for(tool_has_written(tool, " listener 1: connection 1 from "));
        g_assert_false(tool_has_written(tool, " listener 2"));
}

TEST_IF(test_require_root() && test_require_program("jq"), "jq understands it") {
        g_autofree char *directory = test_make_directory("jq"),
                        *out = g_build_filename(directory, "out", NULL);
        g_autoptr(TestChild) child = tool_spawn(
                        f->bus, out,
                        WORDS("sh", "-c",
                              "\"$TEST_CTL\" monitor --json=short | jq --unbuffered --raw-output"
                              " 'select(.event != \"listening\") | \"\\(.event) \\(.listener) \\(.remotePort) \\(.reason)\"'"));
        g_autofree char *expected = NULL;

        test_wait_for(test_file_contains(out, "Monitoring listeners"));
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        {
                _cleanup_close_ int peer = connect_peer(f, listener);

                expected = g_strdup_printf("\nconnection 1 %u null\nclosed 1 null owner\n",
                                           test_local_port(peer));
        }
        test_listener_call(f->client, listener, "Close");
        test_wait_for(test_file_contains(out, expected));
}

/* The monitor keeps no descriptor of a connection that it shows. */
TEST_IF(test_require_root(), "keeps no connection") {
        g_autoptr(Tool) tool = watch(f, WORDS("monitor"));
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        _cleanup_close_ int peer = connect_peer(f, listener);

        test_wait_for(tool_has_written(tool, "connection 1"));
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

static int output_of_tool;

static void write_to_pipe(void *data) {
        g_assert_no_errno(dup2(output_of_tool, STDOUT_FILENO));
}

static unsigned count_events(const char *text) {
        unsigned n = 0;

        for (; (text = strstr(text, "\"event\": \"connection\"")); text++)
                n++;
        return n;
}

/* Its output is not read. It must go on reading from the bus, or the bus would stop the service. */
TEST_IF(test_require_root(), "a reader that hangs does not stop the service") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(GString) written = g_string_new(NULL);
        char buffer[4096];
        int ends[2];
        ssize_t n;

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        _cleanup_close_ int output = ends[0];
        output_of_tool = ends[1];
        tool_set_up_with(write_to_pipe);
        g_autoptr(Tool) tool = watch(f, WORDS("monitor", "--json=pretty"));
        tool_set_up_with(NULL);
        close(ends[1]);

        /* More than a pipe holds, and far more than the bus lets wait. */
        for (unsigned i = 0; i < 500; i++)
                meet_peer(f, listener);

        /* All of it is kept. */
        while (count_events(written->str) < 500) {
                (void) test_wait_fd(output, POLLIN);
                n = read(output, buffer, sizeof(buffer));
                g_assert_cmpint(n, >, 0);
                g_string_append_len(written, buffer, n);
        }
        output = close_fd(output);
        g_assert_cmpint(test_child_wait(tool->child), ==, 0);
}

/* It leaves the bus at SIGTSTP, and returns at SIGCONT. */
TEST_IF(test_require_root(), "a stopped monitor does not stop the service") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(Tool) tool = watch(f, WORDS("monitor"));
        g_autofree char *stat = g_strdup_printf("/proc/%i/stat", (int) tool->child->pid);

        test_child_signal(tool->child, SIGTSTP);
        test_wait_for(test_file_contains(stat, ") T "));
        for (unsigned i = 0; i < 200; i++)
                meet_peer(f, listener);
        test_child_signal(tool->child, SIGCONT);
        test_wait_for(!test_file_contains(stat, ") T "));
        /* Its return shows only in its output, so that peers connect until it shows one. */
        for (unsigned i = 0; !tool_has_written(tool, " listener 1: connection ") && i < 10000; i++)
                meet_peer(f, listener);
        test_wait_for(tool_has_written(tool, " listener 1: connection "));
        g_assert_false(tool_has_written(tool, ": connection 1 "));
}

TEST_IF(test_require_root(), "a reader that exits") {
        g_autofree char *directory = test_make_directory("exits"),
                        *log = g_build_filename(directory, "log", NULL),
                        *line = g_strdup_printf("{ %s monitor; echo \"status $?\" >&2; } | true",
                                                g_getenv("TEST_CTL"));
        g_autoptr(TestChild) child = tool_spawn(f->bus, log, WORDS("sh", "-c", line));

        /* Without any event on the bus. */
        g_assert_cmpint(test_child_wait(child), ==, 0);
        g_assert_true(test_file_contains(log, "status 0"));
}

TEST("no right") {
        uid_t uid = geteuid() == 0 ? test_other_uid(0) : 0;

        tool_assert_fails(tool_run_full(f->bus, NULL, uid, WORDS("monitor")), 1, "does not allow you",
                          "run the command as root");
}

TEST_IF(test_require_root(), "a bus that ends") {
        g_autoptr(TestBus) bus = test_bus_new(NULL);
        g_autoptr(Tool) tool = tool_start(bus, NULL, 0, WORDS("monitor"));

        test_wait_for(tool_has_complained(tool, "Monitoring listeners"));
        test_bus_kill(bus);
        g_assert_cmpint(test_child_wait(tool->child), ==, 1);
        g_assert_true(tool_has_complained(tool, "The bus has closed the connection"));
}
