/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions of polkit, with its agent pkttyagent. */

#include "machine/agent.h"

#define OUTPUT "/run/test-output"
#define GIVEN_UP "FAILED to authenticate"

/* busctl, which calls Listen. */
static Caller *busctl_new(const char *port, const char *persistent) {
        return caller_new(OUTPUT,
                          WORDS("busctl", "--timeout=120", "call", "org.example.TCPServerSocket",
                                "/org/example/TCPServerSocket", "org.example.TCPServerSocket", "Listen",
                                "ia{sv}i", port, "1", "persistent", "b", persistent, "--", "-1"));
}

/* The listener is there when busctl has ended. */
static Caller *persistent_new(const char *port) {
        return busctl_new(port, "true");
}

static void assert_serves(TestClient *client) {
        g_autofree char *listener = test_listen(client, 0, -1, NULL);

        test_assert_served(client, listener, "127.0.0.1");
        test_listener_call(client, listener, "Close");
}

/* ------------------------------------------------------------------------------------------- the tests */

MACHINE_TEST("the right password") {
        g_autoptr(Caller) caller = persistent_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        /* The question is a sentence with the port. */
        test_wait_for(terminal_shows(agent, TERMINAL_PROMPT));
        g_assert_true(terminal_shows(agent, "org.example.TCPServerSocket.listen-privileged"));
        g_assert_true(terminal_shows(agent, "port 80, even after the program has ended."));
        g_assert_false(terminal_shows(agent, "$(port)"));
        agent_answer(agent, MACHINE_ROOT_PASSWORD);

        g_assert_cmpint(test_child_wait(caller->child), ==, 0);
        g_assert_true(test_file_contains(OUTPUT, "o \"/org/example/TCPServerSocket/listener/1\""));
        g_assert_true(test_is_listening(machine_service_pid(), 80));
}

MACHINE_TEST("the question is in the language of the user") {
        g_autoptr(Caller) caller = busctl_new("80", "false");

        if (access("/usr/share/i18n/locales/de_DE", F_OK) < 0) {
                g_test_skip("needs the sources of a locale");
                return;
        }

        g_free(machine_run("localedef", "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8"));
        /* A process that has looked for locales before does not see a new one. */
        g_free(machine_run("systemctl", "restart", MACHINE_POLKIT));
        g_autoptr(Terminal) agent = agent_new_with_locale(caller->child->pid, "de_DE.UTF-8");
        caller_call(caller);
        test_wait_for(terminal_shows(agent, "um Netzwerkverbindungen auf Port 80 zu empfangen."));
}

MACHINE_TEST("the wrong password") {
        g_autoptr(Caller) caller = persistent_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        agent_answer(agent, "no idea");
        g_assert_cmpint(test_child_wait(caller->child), ==, 1);
        g_assert_true(test_file_contains(OUTPUT, "Access denied"));
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
        g_assert_false(test_is_listening(machine_service_pid(), 80));
}

MACHINE_TEST("an answer authorizes one call") {
        g_autoptr(Caller) first = persistent_new("80"), second = NULL;
        g_autoptr(Terminal) agent = agent_new(first->child->pid);

        caller_call(first);
        agent_answer(agent, MACHINE_ROOT_PASSWORD);
        g_assert_cmpint(test_child_wait(first->child), ==, 0);
        g_clear_pointer(&agent, terminal_free);

        second = persistent_new("81");
        agent = agent_new(second->child->pid);
        caller_call(second);
        test_wait_for(terminal_shows(agent, "port 81"));
        g_assert_false(test_child_has_exited(second->child));
}

MACHINE_TEST("a caller may give up while it is asked") {
        g_autoptr(Caller) caller = persistent_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);
        g_autoptr(TestClient) web = machine_client_new(m, MACHINE_WEB_USER);

        caller_call(caller);
        test_wait_for(terminal_shows(agent, TERMINAL_PROMPT));
        /* Meanwhile other callers are authorized and served. */
        for (unsigned i = 0; i < 10; i++) {
                assert_serves(m->root);
                assert_serves(web);
                assert_serves(m->user);
        }
        g_assert_false(test_child_has_exited(caller->child));

        /* The caller gives up: the question is withdrawn. polkitd says so; the agent itself only sees it
         * after the line that it reads. */
        unsigned n_cancelled = machine_count_logged(GIVEN_UP);
        test_child_signal(caller->child, SIGKILL);
        test_wait_for(machine_count_logged(GIVEN_UP) > n_cancelled);
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
        g_assert_false(test_is_listening(machine_service_pid(), 80));
}

MACHINE_TEST("an answer after the end of the caller has no effect") {
        g_autoptr(Caller) caller = persistent_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        test_wait_for(terminal_shows(agent, TERMINAL_PROMPT));
        g_autofree char *listener = test_listen(m->root, 80, -1, NULL);
        agent_answer(agent, MACHINE_ROOT_PASSWORD);
        g_assert_cmpint(test_child_wait(caller->child), ==, 1);
        g_assert_true(test_file_contains(OUTPUT, "in use"));
        g_assert_cmpuint(machine_count_listed(m->root), ==, 1);
}

MACHINE_TEST("the service may exit while a user is asked") {
        g_autoptr(Caller) caller = persistent_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        test_wait_for(terminal_shows(agent, TERMINAL_PROMPT));
        unsigned n_cancelled = machine_count_logged(GIVEN_UP);
        machine_stop_service();
        g_assert_cmpint(test_child_wait(caller->child), ==, 1);
        test_wait_for(machine_count_logged(GIVEN_UP) > n_cancelled);
}

/* All calls of one user: its agent asks one question at a time. */
#define MANY 60

MACHINE_TEST("sixty callers are asked at once") {
        g_autoptr(TestClient) web = machine_client_new(m, MACHINE_WEB_USER);
        g_autoptr(Terminal) agent = agent_new(getpid());
        TestClient *clients[MANY];
        TestCall *calls[MANY];
        unsigned n_pending = 0, n_served = 0, n_cancelled;

        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                clients[i] = machine_client_new(m, MACHINE_USER);
                calls[i] = test_listen_start(clients[i], 100 + (int) i, true);
        }
        test_wait_for(terminal_shows(agent, TERMINAL_PROMPT));

        uint64_t start = test_now();
        while (n_served < 50) {
                assert_serves(web);
                assert_serves(m->root);
                assert_serves(m->user);
                n_served++;
        }
        g_test_message("%u rounds in %u ms", n_served, (unsigned) ((test_now() - start) / 1000));

        for (size_t i = 0; i < ELEMENTS(calls); i++)
                n_pending += !test_call_is_done(calls[i]);
        g_assert_cmpuint(n_pending, ==, MANY);

        /* All of them leave at once. */
        n_cancelled = machine_count_logged(GIVEN_UP);
        for (size_t i = 0; i < ELEMENTS(calls); i++) {
                test_call_free(calls[i]);
                test_client_free(clients[i]);
        }
        test_wait_for(machine_count_logged(GIVEN_UP) > n_cancelled);
        assert_serves(m->user);
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
}

MACHINE_TEST("a question to one user does not delay another") {
        g_autoptr(Caller) caller = persistent_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid), own = agent_new(getpid());
        TestClient *clients[MANY];
        TestCall *calls[MANY];

        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                clients[i] = machine_client_new(m, MACHINE_WEB_USER);
                calls[i] = test_listen_start(clients[i], 100 + (int) i, true);
        }
        test_wait_for(terminal_shows(own, TERMINAL_PROMPT));

        caller_call(caller);
        agent_answer(agent, MACHINE_ROOT_PASSWORD);
        g_assert_cmpint(test_child_wait(caller->child), ==, 0);

        for (size_t i = 0; i < ELEMENTS(calls); i++) {
                test_call_free(calls[i]);
                test_client_free(clients[i]);
        }
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);
        test_show_on_failure(OUTPUT);
        return test_run();
}
