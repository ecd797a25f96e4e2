/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* list, show, close, pause, resume, status: their effects, their text and their JSON. */

#include <pwd.h>
#include <sys/prctl.h>

#include "ctl/tool.h"

/* A counter is an int, or null if the service does not see the connections. What is known about the owner
 * depends on the host. */
static void assert_is_listener(json_object *o, const char *counter) {
        static const char *const owner[] = { "user", "pid", "command", "commandLine", "unit", "application" };
        json_object *copy = NULL;

        g_assert_cmpint(json_object_deep_copy(o, &copy, NULL), ==, 0);
        for (size_t i = 0; i < ELEMENTS(owner); i++) {
                g_assert_true(json_object_object_get_ex(copy, owner[i], NULL));
                json_object_object_del(copy, owner[i]);
        }
        json_assert_members(copy, "listener", "int", "path", "string", "localAddress", "string", "localPort",
                            "int", "interface", "string", "backlog", "int", "binaryType", "string",
                            "delivery", "string", "name", "string", "persistent", "boolean", "ownerUID",
                            "int", "ownerPID", "int", "owner", "string", "paused", "boolean", "accepted",
                            counter, "delivered", counter, "refused", counter, "lost", counter, NULL);
        json_object_put(copy);
}

TEST("list writes JSON") {
        g_autofree char *first = test_listen(f->client, 0, 7, TEST_PERSISTENT, "name", "s", "first \"one\"",
                                             "localAddress", "s", "127.0.0.1", NULL);
        g_autofree char *second = test_listen(f->client, 0, -1, TEST_PULL, TEST_PAUSED, NULL);
        g_autoptr(json_object) list = tool_run_json(f->bus, "list", "--json=short");
        json_object *o;

        g_assert_cmpuint(json_object_array_length(list), ==, 2);
        o = json_object_array_get_idx(list, 0);
        assert_is_listener(o, "int");
        g_assert_cmpstr(json_get_string(o, "path"), ==, first);
        g_assert_cmpstr(json_get_string(o, "name"), ==, "first \"one\"");
        g_assert_cmpstr(json_get_string(o, "localAddress"), ==, "127.0.0.1");
        g_assert_cmpuint(json_get_number(o, "localPort"), ==, test_get_port(f->client, first));
        g_assert_cmpuint(json_get_number(o, "listener"), ==, 1);
        g_assert_cmpuint(json_get_number(o, "backlog"), ==, 7);
        g_assert_cmpuint(json_get_number(o, "ownerUID"), ==, geteuid());

        o = json_object_array_get_idx(list, 1);
        assert_is_listener(o, "int");
        g_assert_cmpstr(json_get_string(o, "path"), ==, second);
        g_assert_cmpstr(json_get_string(o, "delivery"), ==, "pull");
        g_assert_cmpstr(json_get_string(o, "owner"), ==, test_client_name(f->client));
        g_assert_true(json_object_get_boolean(json_object_object_get(o, "paused")));
}

static unsigned count_lines(const char *text) {
        unsigned n = 0;

        for (; *text; text++)
                n += *text == '\n';
        return n;
}

TEST("list writes a table") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "name", "s", "für alle", NULL);
        g_autofree char *port = g_strdup_printf(" %u ", test_get_port(f->client, listener));
        g_autoptr(ToolResult) whole = tool_run(f->bus, NULL), bare = tool_run(f->bus, "list", "--no-legend"),
                              quiet = tool_run(f->bus, "-q", "list");

        /* No verb is "list". */
        g_assert_cmpint(whole->status, ==, 0);
        g_assert_cmpstr(whole->err, ==, "");
        g_assert_true(g_str_has_prefix(whole->out, "LISTENER ADDRESS "));
        g_assert_nonnull(strstr(whole->out, port));
        g_assert_nonnull(strstr(whole->out, "für alle\n"));
        g_assert_nonnull(strstr(whole->out, "\n1 listener listed.\n"));
        g_assert_null(strchr(whole->out, '\033'));

        g_assert_cmpuint(count_lines(bare->out), ==, 1);
        g_assert_nonnull(strstr(bare->out, port));
        g_assert_cmpuint(count_lines(quiet->out), ==, 2);
}

TEST("the codeset of the terminal limits the output") {
        g_autofree G_GNUC_UNUSED char *listener = test_listen(f->client, 0, -1, "name", "s", "für alle 端口",
                                                              NULL);
        static const char *const ascii[] = { "LC_ALL=C", NULL }, *const narrow[] = { "LC_ALL=C", "COLUMNS=45",
                                                                                     NULL };
        static const char escaped[] = "f\\xc3\\xbcr alle \\xe7\\xab\\xaf\\xe5\\x8f\\xa3\n";
        g_autoptr(ToolResult) list = tool_run_full(f->bus, ascii, 0, WORDS("list")),
                              show = tool_run_full(f->bus, ascii, 0, WORDS("show", "1")),
                              cut = tool_run_full(f->bus, narrow, 0, WORDS("list", "--no-legend")),
                              json = tool_run_full(f->bus, ascii, 0, WORDS("show", "1", "-j")),
                              error = tool_run_full(f->bus, ascii, 0, WORDS("show", "für"));

        g_assert_nonnull(strstr(list->out, escaped));
        g_assert_nonnull(strstr(show->out, escaped));
        g_assert_true(g_str_has_suffix(cut->out, "...\n"));
        g_assert_nonnull(strstr(json->out, "\"f\\u00fcr alle \\u7aef\\u53e3\""));
        g_assert_nonnull(strstr(error->err, "\"f\\xc3\\xbcr\""));
}

/* Listeners that do not accept now. */
TEST("the table shows states") {
        g_autoptr(TestClient) leaver = test_client_new(f->bus, (uid_t) -1);
        g_autofree G_GNUC_UNUSED char *paused = test_listen(f->client, 0, -1, TEST_PAUSED, NULL),
                                      *orphan = test_listen(leaver, 0, -1, TEST_PERSISTENT, NULL),
                                      *listening = test_listen(f->client, 0, -1, NULL);
        g_auto(GStrv) lines = NULL;

        g_clear_pointer(&leaver, test_client_free);
        test_wait_for(!test_has_owner(f->client, orphan));
        g_autoptr(ToolResult) list = tool_run(f->bus, "list", "--no-legend");
        lines = g_strsplit(list->out, "\n", -1);
        g_assert_cmpuint(g_strv_length(lines), ==, 4);
        g_assert_nonnull(strstr(lines[0], " paused "));
        g_assert_nonnull(strstr(lines[1], " no owner "));
        g_assert_nonnull(strstr(lines[2], " listening "));
}

TEST("JSON has several forms") {
        static const char *const verbs[] = { "list", "show", "status" };

        g_free(test_listen(f->client, 0, -1, "name", "s", "web", NULL));
        for (size_t i = 0; i < ELEMENTS(verbs); i++) {
                const char *listener = streq(verbs[i], "show") ? "web" : NULL;
                g_autoptr(ToolResult) brief = tool_run(f->bus, "--json=short", verbs[i], listener),
                                      piped = tool_run(f->bus, "-j", verbs[i], listener),
                                      pretty = tool_run(f->bus, "--json=pretty", verbs[i], listener),
                                      off = tool_run(f->bus, "--json=off", verbs[i], listener),
                                      plain = tool_run(f->bus, verbs[i], listener);
                g_autoptr(json_object) a = json_tokener_parse(brief->out),
                                       b = json_tokener_parse(pretty->out);

                g_assert_cmpuint(count_lines(brief->out), ==, 1);
                g_assert_cmpstr(piped->out, ==, brief->out);
                g_assert_cmpuint(count_lines(pretty->out), >, 5);
                g_assert_true(json_object_equal(a, b));
                g_assert_cmpstr(off->out, ==, plain->out);
        }
}

TEST("list without listeners") {
        g_autoptr(json_object) list = tool_run_json(f->bus, "list", "--json=pretty");
        g_autoptr(ToolResult) result = tool_run(f->bus, "list"),
                              bare = tool_run(f->bus, "list", "--no-legend");

        g_assert_true(json_object_is_type(list, json_type_array));
        g_assert_cmpuint(json_object_array_length(list), ==, 0);
        g_assert_cmpstr(result->out, ==, "No listeners.\n");
        g_assert_cmpstr(bare->out, ==, "");
}

TEST("show finds listeners by number, path and name") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "name", "s", "a b", NULL);
        g_autofree char *port = g_strdup_printf("\nLocalPort=%u\n", test_get_port(f->client, listener));
        g_autofree char *path = g_strdup_printf("Path=%s\n", listener);
        g_autoptr(ToolResult) by_name = tool_run(f->bus, "show", "a b"),
                              by_number = tool_run(f->bus, "show", "1"),
                              by_path = tool_run(f->bus, "show", listener),
                              twice = tool_run(f->bus, "show", "--", "1", "a b");
        g_autoptr(json_object) json = tool_run_json(f->bus, "show", "a b", "-j");
        g_autofree char *expected = g_strdup_printf("%s\n%s", by_number->out, by_number->out);

        g_assert_cmpint(by_name->status, ==, 0);
        g_assert_true(g_str_has_prefix(by_name->out, path));
        g_assert_nonnull(strstr(by_name->out, port));
        g_assert_nonnull(strstr(by_name->out, "\nName=a b\n"));
        g_assert_nonnull(strstr(by_name->out, "\nPersistent=no\n"));
        g_assert_cmpstr(by_name->out, ==, by_number->out);
        g_assert_cmpstr(by_name->out, ==, by_path->out);
        g_assert_cmpstr(twice->out, ==, expected);

        g_assert_cmpuint(json_object_array_length(json), ==, 1);
        assert_is_listener(json_object_array_get_idx(json, 0), "int");
}

static void assert_null(json_object *o, const char *key) {
        json_object *value;

        g_assert_true(json_object_object_get_ex(o, key, &value));
        g_assert_true(json_object_is_type(value, json_type_null));
}

/* The client is a part of this process. */
TEST("a port is not the number of a listener") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *port = g_strdup_printf("%u", test_get_port(f->client, listener));
        g_autofree char *text = g_strdup_printf("There is no listener %s; listener 1 has port %s.", port,
                                                port);

        tool_assert_fails(tool_run(f->bus, "show", port), 1, text);
        tool_assert_fails(tool_run(f->bus, "close", port), 1, text);
}

TEST("list and show name the process of the owner") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL),
                        *line = g_strdup_printf("\nPID=%i\n", (int) getpid());
        g_autofree G_GNUC_UNUSED char *other = test_listen(f->client, 0, -1, NULL);
        g_autoptr(json_object) list = tool_run_json(f->bus, "list", "--json=short");
        g_autoptr(ToolResult) table = tool_run(f->bus, "list", "--no-legend"),
                              show = tool_run(f->bus, "show", "1");
        const struct passwd *user = getpwuid(geteuid());
        char command[16];

        g_assert_no_errno(prctl(PR_GET_NAME, command));
        for (size_t i = 0; i < 2; i++) {
                json_object *o = json_object_array_get_idx(list, i);

                g_assert_cmpuint(json_get_number(o, "pid"), ==, getpid());
                g_assert_cmpuint(json_get_number(o, "ownerPID"), ==, getpid());
                g_assert_cmpstr(json_get_string(o, "command"), ==, command);
                if (user)
                        g_assert_cmpstr(json_get_string(o, "user"), ==, user->pw_name);
        }
        g_assert_nonnull(strstr(table->out, command));
        g_assert_nonnull(strstr(show->out, line));

        /* Without an owner, it has no process. */
        g_clear_pointer(&f->client, test_client_free);
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_wait_for(!test_has_owner(f->client, listener));
        g_autoptr(json_object) later = tool_run_json(f->bus, "show", "1", "--json=short");
        assert_null(json_object_array_get_idx(later, 0), "pid");
        assert_null(json_object_array_get_idx(later, 0), "command");
        assert_null(json_object_array_get_idx(later, 0), "unit");

        /* The next one can be another process than OwnerPID. */
        test_listener_call(f->client, listener, "Adopt");
        g_autoptr(json_object) last = tool_run_json(f->bus, "show", "1", "--json=short");
        g_assert_cmpuint(json_get_number(json_object_array_get_idx(last, 0), "pid"), ==, getpid());
}

TEST("list has the server that the tool runs") {
        g_autoptr(Tool) listen = tool_start(f->bus, NULL, 0,
                                            WORDS("listen", "0", "--", "/bin/sleep", "infinity"));

        test_wait_for(tool_has_complained(listen, "Listening on"));
        g_autoptr(ToolResult) list = tool_run(f->bus, "list", "--no-legend");
        g_autoptr(json_object) json = tool_run_json(f->bus, "show", "1", "--json=short");

        g_assert_nonnull(strstr(list->out, " sleep "));
        g_assert_cmpstr(json_get_string(json_object_array_get_idx(json, 0), "command"), ==,
                        "tcpserversocket");
}

/* As in the user unit. */
TEST("list has no server for a relay") {
        g_autoptr(Tool) relay = tool_start(f->bus, NULL, 0, WORDS("relay", "--", "0", "127.0.0.1:1"));

        test_wait_for(tool_has_complained(relay, "Listening on"));
        g_autoptr(ToolResult) list = tool_run(f->bus, "list", "--no-legend");
        g_assert_nonnull(strstr(list->out, " tcpserversocket "));
}

TEST("connections of a socket that the client has are not counted") {
        g_autofree G_GNUC_UNUSED char *listener = test_listen(f->client, 0, -1, TEST_SOCKET, NULL);
        g_autoptr(json_object) json = tool_run_json(f->bus, "list", "--json=short");
        g_autoptr(ToolResult) show = tool_run(f->bus, "show", "1");

        assert_is_listener(json_object_array_get_idx(json, 0), "null");
        g_assert_nonnull(strstr(show->out, "\nAccepted=-\nDelivered=-\nRefused=-\nLost=-\n"));
}

TEST("list and show have the interface") {
        g_autofree G_GNUC_UNUSED char *listener = test_listen(f->client, 0, -1, "interface", "s", "lo", NULL);
        g_autoptr(json_object) json = tool_run_json(f->bus, "list", "--json=short");
        g_autoptr(ToolResult) show = tool_run(f->bus, "show", "1"), list = tool_run(f->bus, "list");

        g_assert_cmpstr(json_get_string(json_object_array_get_idx(json, 0), "interface"), ==, "lo");
        g_assert_nonnull(strstr(show->out, "\nInterface=lo\n"));
        g_assert_nonnull(strstr(list->out, " lo "));
}

TEST_IF(test_require_root(), "close closes all, and reports what fails") {
        g_autofree char *first = test_listen(f->client, 0, -1, "name", "s", "web", NULL);
        g_autofree char *second = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, first), other = test_get_port(f->client, second);

        /* One that fails does not save the others. */
        tool_assert_fails(tool_run(f->bus, "close", "web", "77", "2"), 1, "Failed to close listener 77",
                          "There is no listener", "\"list\" shows");
        test_client_expect_closed(f->client, first, "administrator");
        g_assert_false(test_service_is_listening(f->service, port));
        g_assert_false(test_service_is_listening(f->service, other));
}

static char *describe_this_process(void) {
        char command[16];

        g_assert_no_errno(prctl(PR_GET_NAME, command));
        return g_strdup_printf("%s (PID %i)", command, (int) getpid());
}

/* The holder of the socket makes its connections keep the port, as one that wants to keep it. */
TEST_IF(test_require_root(), "close names the process that keeps the port of a taken socket in use") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_SOCKET, NULL),
                        *holder = describe_this_process();
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int taken = test_listener_call_fd(f->client, listener, "TakeSocket"), peer = -EBADF,
                            accepted = -EBADF;
        const int no = 0;

        g_assert_no_errno(setsockopt(taken, SOL_SOCKET, SO_REUSEADDR, &no, sizeof(no)));
        peer = test_connect("::1", port);
        accepted = accept4(taken, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(accepted);

        g_autoptr(ToolResult) result = tool_run(f->bus, "close", "1");
        g_assert_cmpint(result->status, ==, 0);
        g_assert_true(g_str_has_prefix(result->err, "Listener 1 is closed, but port "));
        g_assert_nonnull(strstr(result->err, holder));
}

TEST_IF(test_require_root(), "close says nothing about a port that is free") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_SOCKET, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int taken = test_listener_call_fd(f->client, listener, "TakeSocket"),
                            peer = test_connect("::1", port),
                            accepted = accept4(taken, NULL, NULL, SOCK_CLOEXEC);

        g_assert_no_errno(accepted);
        tool_do(f->bus, "close", "1");
}

TEST("pause and resume work") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, "name", "s", "web", NULL);

        tool_do(f->bus, "pause", "web");
        g_assert_true(test_get_bool(f->client, listener, "Paused"));
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);

        tool_do(f->bus, "resume", "1");
        test_client_expect_peer(f->client, NULL, peer);
}

TEST("status shows the process, counters and limits") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        g_autofree char *process = g_strdup_printf("Process: %i, of the user ",
                                                   (int) test_service_pid(f->service));
        json_object *counters, *limits;

        test_assert_connected(peer, accepted->socket);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        g_autoptr(json_object) status = tool_run_json(f->bus, "status", "--json=short");
        g_autoptr(ToolResult) result = tool_run(f->bus, "status");

        json_assert_members(status, "version", "string", "owner", "string", "pid", "int", "uid", "int",
                            "contained", "boolean", "limits", "object", "counters", "object", NULL);
        g_assert_cmpuint(json_get_number(status, "pid"), ==, test_service_pid(f->service));
        g_assert_cmpstr(json_get_string(status, "owner"), ==, test_bus_service_owner(f->bus));
        counters = json_object_object_get(status, "counters");
        json_assert_members(counters, "listeners", "int", "accepted", "int", "delivered", "int", "refused",
                            "int", "lost", "int", NULL);
        g_assert_cmpuint(json_get_number(counters, "listeners"), ==, 1);
        g_assert_cmpuint(json_get_number(counters, "accepted"), ==, 1);
        g_assert_cmpuint(json_get_number(counters, "delivered"), ==, 1);
        limits = json_object_object_get(status, "limits");
        json_assert_members(limits, "maxListeners", "int", "maxListenersPerUser", "int", "maxChannels", "int",
                            "maxChannelsPerUser", "int", "maxPendingRequestsPerUser", "int",
                            "maxUnacknowledged", "int", "maxUnacknowledgedPerClient", "int",
                            "idleTimeoutUSec", "int", "allowSocketDelivery", "boolean", "requireContainment",
                            "boolean", "allowedPorts", "array", "allowedAddresses", "array", NULL);

        g_assert_cmpint(result->status, ==, 0);
        g_assert_true(g_str_has_prefix(result->out, "● tcpserversocketd "));
        g_assert_nonnull(strstr(result->out, process));
        g_assert_nonnull(strstr(result->out, "1 accepted, 1 delivered, 0 refused, 0 lost\n"));
        g_assert_nonnull(strstr(result->out, "Contained: no, "));
        g_assert_null(strchr(result->out, '\033'));
}
