/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tool as it is installed, with the real polkit: when it asks for a password. */

#include "ctl/tool.h"
#include "machine/machine.h"

/* A listener of root's, which only an administrator may close. */
static char *listen_as_root(Machine *m) {
        return test_listen(m->root, 0, -1, "name", "s", "web", NULL);
}

static ToolResult *run_as(const char *user, const char *const *argv) {
        return tool_run_full(NULL, NULL, machine_uid(user), argv);
}

MACHINE_TEST("the right password closes the listener") {
        g_autofree char *listener = listen_as_root(m);
        g_autoptr(Terminal) t = terminal_new_full(NULL, NULL, 80, MACHINE_USER, WORDS("close", "1"));

        test_wait_for(terminal_shows(t, TERMINAL_PROMPT));
        g_assert_true(terminal_shows(t, "org.example.TCPServerSocket.manage"));
        terminal_type_password(t, MACHINE_ROOT_PASSWORD);
        g_assert_cmpint(terminal_wait(t), ==, 0);
        test_client_expect_closed(m->root, listener, "administrator");
        /* It was asked for on the terminal, and not shown there. */
        g_assert_false(terminal_shows(t, MACHINE_ROOT_PASSWORD));
}

MACHINE_TEST("listen on port 80 asks for the password") {
        g_autoptr(Terminal) t = terminal_new_full(
                        NULL, NULL, 80, MACHINE_USER,
                        WORDS("listen", "80", "--", "sh", "-c", "echo \"descriptors: $LISTEN_FDS\"; exit 7"));

        test_wait_for(terminal_shows(t, TERMINAL_PROMPT));
        g_assert_true(terminal_shows(t, "port 80"));
        terminal_type_password(t, MACHINE_ROOT_PASSWORD);
        g_assert_cmpint(terminal_wait(t), ==, 7);
        g_assert_true(terminal_shows(t, "descriptors: 1"));
}

MACHINE_TEST("the wrong password is refused") {
        g_autofree char *listener = listen_as_root(m);
        g_autoptr(Terminal) t = terminal_new_full(NULL, NULL, 200, MACHINE_USER, WORDS("close", "1"));

        terminal_type_password(t, "no idea");
        g_assert_cmpint(terminal_wait(t), ==, 1);
        g_assert_true(terminal_shows(t, "Failed to close listener 1: "));
        g_assert_true(terminal_shows(t, "run the command as root"));
        g_assert_true(test_is_listening(machine_service_pid(), test_get_port(m->root, listener)));
}

MACHINE_TEST("no password is asked for without a terminal or with --no-ask-password") {
        g_autofree char *listener = listen_as_root(m);
        g_autoptr(Terminal) t = terminal_new_full(NULL, NULL, 200, MACHINE_USER,
                                                  WORDS("close", "1", "--no-ask-password"));
        g_autoptr(ToolResult) script = run_as(MACHINE_USER, WORDS("close", "1"));

        g_assert_cmpint(terminal_wait(t), ==, 1);
        g_assert_false(terminal_shows(t, TERMINAL_PROMPT));
        /* Without a password, the user may not know that there is one. */
        g_assert_true(terminal_shows(t, "There is no listener"));

        /* Without a terminal. */
        tool_assert_fails(g_steal_pointer(&script), 1, "Failed to close listener 1");
        g_assert_true(test_is_listening(machine_service_pid(), test_get_port(m->root, listener)));
}

MACHINE_TEST("the rule that a refusal shows allows the port") {
        const char *const *argv = WORDS("listen", "80", "--", "true");
        g_autoptr(ToolResult) refused = run_as(MACHINE_USER, argv);
        const char *rule = strstr(refused->err, "\npolkit.addRule(");

        g_assert_cmpint(refused->status, ==, 1);
        g_assert_nonnull(strstr(refused->err, "org.example.TCPServerSocket.listen-privileged"));
        g_assert_nonnull(rule);
        machine_set_rule(rule);
        g_autoptr(ToolResult) allowed = run_as(MACHINE_USER, argv),
                              other = run_as(MACHINE_USER, WORDS("listen", "81", "--", "true"));
        g_assert_cmpint(allowed->status, ==, 0);
        g_assert_cmpint(other->status, ==, 1);
}

MACHINE_TEST("list asks for no password") {
        g_free(listen_as_root(m));
        g_autofree char *own = test_listen(m->user, 0, -1, TEST_PERSISTENT, "name", "s", "mine", NULL);
        g_autoptr(Terminal) t = terminal_new_full(NULL, NULL, 200, MACHINE_USER, WORDS("list", "--no-pager"));
        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_false(terminal_shows(t, TERMINAL_PROMPT));
        g_assert_true(terminal_shows(t, "mine"));
        g_assert_false(terminal_shows(t, "web"));
        test_listener_call(m->user, own, "Close");
}

MACHINE_TEST("root is not asked for a password") {
        g_free(test_listen(m->user, 0, -1, "name", "s", "web", NULL));
        g_autoptr(Terminal) t = terminal_new(NULL, NULL, 80, WORDS("close", "web"));
        g_assert_cmpint(terminal_wait(t), ==, 0);
        g_assert_false(terminal_shows(t, TERMINAL_PROMPT));
}

/* Each as a unit of its own, one of them named as Flatpak does. */
MACHINE_TEST("list shows units and applications") {
        static const char scope[] = "app-flatpak-org.example.Maps-4711.scope", service[] = "shop.service",
                          log[] = "/run/scope";
        g_autoptr(TestChild) maps = machine_start_as(
                        NULL, log,
                        WORDS("systemd-run", "--quiet", "--scope", "--unit", scope, "--uid", MACHINE_USER,
                              "tcpserversocketctl", "listen", "--name=maps", "0", "--", "sleep", "infinity"));
        g_free(machine_run("systemd-run", "--quiet", "--collect", "--unit", service, "tcpserversocketctl",
                           "listen", "--name=shop", "0", "--", "sleep", "infinity"));

        test_wait_for(machine_count_listed(m->root) == 2);
        g_autoptr(json_object) shown = tool_run_json(NULL, "show", "maps", "shop", "--json=short");
        g_autoptr(ToolResult) list = tool_run(NULL, "list");
        g_autoptr(Terminal) narrow = terminal_new(NULL, NULL, 80, WORDS("list", "--no-pager"));
        json_object *first = json_object_array_get_idx(shown, 0),
                    *second = json_object_array_get_idx(shown, 1);

        g_assert_cmpstr(json_get_string(first, "unit"), ==, scope);
        g_assert_cmpstr(json_get_string(first, "application"), ==, "org.example.Maps");
        g_assert_cmpstr(json_get_string(first, "user"), ==, MACHINE_USER);
        g_assert_true(g_str_has_suffix(json_get_string(first, "commandLine"), " -- sleep infinity"));
        g_assert_cmpstr(json_get_string(second, "unit"), ==, service);
        g_assert_null(json_object_object_get(second, "application"));
        /* The table has the name of the application, if there is one. */
        g_assert_nonnull(strstr(list->out, " org.example.Maps "));
        g_assert_nonnull(strstr(list->out, " shop.service "));
        g_assert_cmpint(terminal_wait(narrow), ==, 0);
        g_assert_true(terminal_shows(narrow, "COMMAND"));
        g_assert_true(terminal_shows(narrow, "shop.service"));

        g_free(machine_run("systemctl", "stop", scope, service));
        (void) test_child_wait(maps);
}

/* With the guard, it gets no connections any more, but it has the port. */
MACHINE_TEST("the holder of a revoked socket that listens again is named") {
        uint16_t port = test_free_port();
        g_autofree char *listener = test_listen(m->root, port, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int taken = test_listener_call_fd(m->root, listener, "TakeSocket");
        g_autofree char *number = g_strdup_printf("%u", port),
                        *holder = g_strdup_printf("(PID %i)", (int) getpid());

        tool_do(NULL, "close", "1");
        if (listen(taken, 1) < 0 || test_local_port(taken) != port) {
                g_test_skip("needs the guard: without it, the port cannot be bound again");
                return;
        }

        tool_assert_fails(tool_run(NULL, "listen", number, "--", "true"), 1, "is in use; stop ", holder);
}

/* Through PID 1's namespaces: of this very machine, the same bus. */
MACHINE_TEST("--machine shows another machine") {
        g_free(listen_as_root(m));
        g_autoptr(ToolResult) result = tool_run(NULL, "--machine=.host", "show", "web");
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpint(result->status, ==, 0);
        g_assert_nonnull(strstr(result->out, "Name=web\n"));
}

/* Calls start the service, and a monitor does not. */
MACHINE_TEST("commands start the service, monitor does not") {
        g_autoptr(Tool) monitor = tool_start(NULL, NULL, 0, WORDS("monitor"));

        test_wait_for(tool_has_complained(monitor, "Monitoring listeners"));
        g_assert_true(machine_unit_is("inactive"));

        g_autoptr(ToolResult) status = run_as(MACHINE_USER, WORDS("status"));
        g_assert_cmpint(status->status, ==, 0);
        g_assert_nonnull(strstr(status->out, "of the user tcpserversocket\n"));
        g_assert_true(machine_unit_is("active"));
}
