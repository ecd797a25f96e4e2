/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions of polkit: its agent pkttyagent on a terminal of its own, with PAM. */

#include <pty.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "ctl/tool.h"
#include "machine/machine.h"

#define GATE "/run/test-gate"
#define OUTPUT "/run/test-output"
#define GIVEN_UP "FAILED to authenticate"

static void write_text(int fd, const char *text) {
        ssize_t n = write(fd, text, strlen(text));

        g_assert_no_errno(n);
        g_assert_cmpint(n, ==, strlen(text));
}

/* ------------------------------------------------------------------------------------------- the agent */

typedef struct AgentSetUp {
        int line;
        uid_t uid; /* 0: remains root */
} AgentSetUp;

static void set_agent_up(void *data) {
        const AgentSetUp *s = data;

        g_assert_no_errno(setsid());
        g_assert_no_errno(ioctl(s->line, TIOCSCTTY, 0));
        g_assert_no_errno(setuid(s->uid));
}

/* An agent of the user of a process, as polkit wants it, which asks in the language of the locale if polkit
 * has a question about the process. */
static Terminal *agent_new_with_locale(pid_t pid, const char *locale) {
        Terminal *agent = g_new0(Terminal, 1);
        AgentSetUp set_up = { .uid = pid == getpid() ? 0 : machine_uid(MACHINE_USER) };
        g_autofree char *process = g_strdup_printf("%d", (int) pid);
        _cleanup_close_ int line = -EBADF;
        int ends[2];

        g_assert_no_errno(openpty(&agent->fd, &line, NULL, NULL, NULL));
        set_up.line = line;
        g_assert_no_errno(fchown(line, set_up.uid, (gid_t) -1));
        g_assert_no_errno(fcntl(agent->fd, F_SETFD, FD_CLOEXEC));
        g_assert_no_errno(fcntl(agent->fd, F_SETFL, O_NONBLOCK));
        g_assert_no_errno(pipe(ends));
        g_autofree char *notify = g_strdup_printf("%d", ends[1]);

        g_autofree char *variable = g_strdup_printf("LANG=%s", locale);
        const char *const environment[] = { variable, "LC_ALL", NULL };
        TestSpawn options = { .environment = environment, .setup = set_agent_up, .data = &set_up };

        g_assert_no_errno(fcntl(ends[0], F_SETFD, FD_CLOEXEC));
        agent->child = test_child_new(WORDS("pkttyagent", "--process", process, "--notify-fd", notify),
                                      &options);
        agent->shown = g_string_new(NULL);
        close(ends[1]);
        /* It closes it when polkit knows it. */
        (void) test_wait_fd(ends[0], POLLIN);
        g_assert_false(test_child_has_exited(agent->child));
        close(ends[0]);
        return agent;
}

static Terminal *agent_new(pid_t pid) {
        return agent_new_with_locale(pid, "C.UTF-8");
}

static void agent_answer(Terminal *agent, const char *password) {
        terminal_type_password(agent, password);
        /* The next call is asked and logged again. */
        g_string_truncate(agent->shown, 0);
}

/* ------------------------------------------------------------------------------------------ the caller */

typedef struct Caller {
        TestChild *child;
        int gate;
} Caller;

static bool process_belongs_to(pid_t pid, uid_t uid) {
        g_autofree char *path = g_strdup_printf("/proc/%d", (int) pid);
        struct stat st;

        return stat(path, &st) == 0 && st.st_uid == uid;
}

/* busctl as MACHINE_USER, up to the call. */
static Caller *caller_new_for(const char *port, const char *persistent) {
        Caller *caller = g_new0(Caller, 1);

        (void) unlink(GATE);
        (void) unlink(OUTPUT);
        g_assert_no_errno(mkfifo(GATE, 0666));
        g_assert_no_errno(chmod(GATE, 0666));
        caller->gate = open(GATE, O_RDWR | O_CLOEXEC);
        g_assert_no_errno(caller->gate);
        caller->child = machine_start_as(MACHINE_USER, OUTPUT,
                                         WORDS("sh", "-c", "read -r go <\"$0\" && exec \"$@\"", GATE,
                                               "busctl", "--timeout=120", "call",
                                               "org.example.TCPServerSocket", "/org/example/TCPServerSocket",
                                               "org.example.TCPServerSocket", "Listen", "ia{sv}i", port, "1",
                                               "persistent", "b", persistent, "--", "-1"));
        /* polkit registers the agent for the uid that the process has at that moment. */
        test_wait_for(process_belongs_to(caller->child->pid, machine_uid(MACHINE_USER)));
        return caller;
}

/* The listener is there when busctl has ended. */
static Caller *caller_new(const char *port) {
        return caller_new_for(port, "true");
}

static void caller_call(Caller *caller) {
        write_text(caller->gate, "go\n");
}

static void caller_free(Caller *caller) {
        if (!caller)
                return;
        test_child_free(caller->child);
        close(caller->gate);
        g_free(caller);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Caller, caller_free)

static void assert_serves(TestClient *client) {
        g_autofree char *listener = test_listen(client, 0, -1, NULL);

        test_assert_served(client, listener, "127.0.0.1");
        test_listener_call(client, listener, "Close");
}

/* ------------------------------------------------------------------------------------------- the tests */

MACHINE_TEST("the right password") {
        g_autoptr(Caller) caller = caller_new("80");
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
        g_autoptr(Caller) caller = caller_new_for("80", "false");

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
        g_autoptr(Caller) caller = caller_new("80");
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        agent_answer(agent, "no idea");
        g_assert_cmpint(test_child_wait(caller->child), ==, 1);
        g_assert_true(test_file_contains(OUTPUT, "Access denied"));
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
        g_assert_false(test_is_listening(machine_service_pid(), 80));
}

MACHINE_TEST("an answer authorizes one call") {
        g_autoptr(Caller) first = caller_new("80"), second = NULL;
        g_autoptr(Terminal) agent = agent_new(first->child->pid);

        caller_call(first);
        agent_answer(agent, MACHINE_ROOT_PASSWORD);
        g_assert_cmpint(test_child_wait(first->child), ==, 0);
        g_clear_pointer(&agent, terminal_free);

        second = caller_new("81");
        agent = agent_new(second->child->pid);
        caller_call(second);
        test_wait_for(terminal_shows(agent, "port 81"));
        g_assert_false(test_child_has_exited(second->child));
}

MACHINE_TEST("a caller may give up while it is asked") {
        g_autoptr(Caller) caller = caller_new("80");
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
        g_autoptr(Caller) caller = caller_new("80");
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
        g_autoptr(Caller) caller = caller_new("80");
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
        g_autoptr(Caller) caller = caller_new("80");
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
