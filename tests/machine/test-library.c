/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Programs with the client library, in a machine with systemd, polkit, logind and the installed service. */

#include "machine/agent.h"
#include "machine/restart.h"
#include "machine/session.h"

#define LOG "/run/library"
#define PEERS_LOG "/run/library-peers"
#define SERVICE_FILE "/usr/share/dbus-1/system-services/org.example.TCPServerSocket.service"
#define UNIT_FILE "/usr/lib/systemd/system/" MACHINE_UNIT

/* D-Bus libraries wait so long for an answer by default. */
#define DBUS_TIMEOUT_SECONDS 25U

static const char *const modes[] = { "attach", "incoming", "accept" };

/* ----------------------------------------------------------------------------------------- the program */

#define PROGRAM(...) WORDS(g_getenv("TEST_LIBRARY_PROGRAM"), __VA_ARGS__)

/* The text after the first "prefix" at the start of a line of its output, or NULL. */
static char *find_line(const char *prefix) {
        g_autofree char *output = test_read_file(LOG);
        g_auto(GStrv) lines = g_strsplit(output, "\n", -1);

        for (char **line = lines; *line; line++)
                if (g_str_has_prefix(*line, prefix))
                        return g_strdup(*line + strlen(prefix));
        return NULL;
}

static unsigned count_lines(const char *prefix) {
        g_autofree char *output = test_read_file(LOG);
        g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
        unsigned n = 0;

        for (char **line = lines; *line; line++)
                n += g_str_has_prefix(*line, prefix);
        return n;
}

static char *wait_for_line(const char *prefix) {
        char *line = NULL;

        test_wait_for((line = find_line(prefix)));
        return line;
}

static TestChild *start_program_words(const char *const *argv) {
        (void) unlink(LOG);
        return machine_start_as(MACHINE_USER, LOG, argv);
}
#define start_program(...) start_program_words(PROGRAM(__VA_ARGS__))

/* A sentence for people: it begins like one, and has no names of D-Bus. */
static void assert_is_sentence(const char *text) {
        g_assert_true(g_ascii_isupper(*text));
        g_assert_null(strstr(text, "GDBus"));
        g_assert_null(strstr(text, "org."));
        g_assert_null(strchr(text, '['));
}

/* The program ends because of this error; returns the text. */
static char *expect_error(const char *name) {
        g_autofree char *line = wait_for_line("error ");
        const char *text = strstr(line, ": ");

        g_assert_nonnull(text);
        test_assert_text(g_strndup(line, (size_t) (text - line)), name);
        text += strlen(": ");
        assert_is_sentence(text);
        g_assert_cmpuint(count_lines("listening"), ==, 0);
        return g_strdup(text);
}

static uint16_t expect_listening(const char *by) {
        g_autofree char *line = wait_for_line("listening ");
        g_auto(GStrv) words = g_strsplit(line, " ", 2);

        g_assert_cmpstr(words[1], ==, by);
        return (uint16_t) g_ascii_strtoull(words[0], NULL, 10);
}

static void expect_closed(const char *reason) {
        g_autofree char *prefix = g_strdup_printf("closed %s: ", reason), *text = wait_for_line(prefix);

        assert_is_sentence(text);
        g_assert_cmpuint(count_lines("closed"), ==, 1);
}

/* The program has had no other end than its own. */
static void end_program(TestChild *program) {
        test_child_signal(program, SIGTERM);
        g_assert_cmpint(test_child_wait(program), ==, 0);
}

/* ------------------------------------------------------------------------------------------ the peers */

static TestChild *start_peers(uint16_t port, unsigned n) {
        g_autofree char *port_text = g_strdup_printf("%u", port), *n_text = g_strdup_printf("%u", n);

        (void) unlink(PEERS_LOG);
        return machine_start_as(NULL, PEERS_LOG, PROGRAM("peers", port_text, n_text));
}

/* Returns how many there were; all but so many were served. */
static unsigned finish_peers(TestChild *peers, unsigned lost_max) {
        unsigned n_served, n;

        g_assert_cmpint(test_child_wait(peers), ==, 0);
        g_autofree char *output = test_read_file(PEERS_LOG);
        const char *last = g_strrstr(g_strchomp(output), "\n");
        g_assert_cmpint(sscanf(last ? last + 1 : output, "%u of %u were served", &n_served, &n), ==, 2);
        g_assert_cmpuint(n_served + lost_max, >=, n);
        return n;
}

static void assert_serves(uint16_t port) {
        g_autoptr(TestChild) peers = start_peers(port, 20);

        (void) finish_peers(peers, 0);
}

/* ------------------------------------------------------------------------------------------ authorization */

MACHINE_TEST("a privileged port needs an authentication") {
        g_autoptr(TestChild) program = start_program("attach", "80");

        g_free(expect_error("authentication-required"));
        g_assert_cmpint(test_child_wait(program), ==, 0);
}

MACHINE_TEST("a port that a rule forbids is refused") {
        machine_set_rule("polkit.addRule(function(action) {"
                         "  if (action.id.startsWith('org.example.TCPServerSocket.listen'))"
                         "    return polkit.Result.NO;"
                         "});");
        g_autoptr(TestChild) program = start_program("--interactive", "attach", "0");

        g_free(expect_error("permission-denied"));
        g_assert_cmpint(test_child_wait(program), ==, 0);
}

MACHINE_TEST("a question that no agent can ask is a refusal") {
        g_autoptr(TestChild) program = start_program("--interactive", "attach", "80");

        g_free(expect_error("permission-denied"));
        g_assert_cmpint(test_child_wait(program), ==, 0);
}

MACHINE_TEST("a password opens a privileged port") {
        g_autoptr(Caller) caller = caller_new(LOG, PROGRAM("--interactive", "attach", "80"));
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        agent_answer(agent, MACHINE_ROOT_PASSWORD);
        g_assert_cmpuint(expect_listening("by the service"), ==, 80);
        assert_serves(80);
        end_program(caller->child);
}

/* Not in the tests of each change. */
static void test_long_question(Machine *m, const void *data) {
        g_autoptr(Caller) caller = caller_new(LOG, PROGRAM("--interactive", "attach", "80"));
        g_autoptr(Terminal) agent = agent_new(caller->child->pid);

        caller_call(caller);
        test_wait_for(terminal_shows(agent, TERMINAL_PROMPT));
        uint64_t start = test_now();
        test_wait_for(test_now() > start + (DBUS_TIMEOUT_SECONDS + 2) * G_USEC_PER_SEC);
        g_assert_cmpuint(count_lines("error"), ==, 0);
        agent_answer(agent, MACHINE_ROOT_PASSWORD);
        g_assert_cmpuint(expect_listening("by the service"), ==, 80);
        end_program(caller->child);
}

MACHINE_TEST("a dialog that the user closes is a refusal") {
        g_autoptr(Caller) caller = caller_new(LOG, PROGRAM("--interactive", "attach", "80"));
        g_autoptr(PlayedAgent) agent = played_agent_new(m, caller->child->pid);

        caller_call(caller);
        test_wait_for(agent->question);
        played_agent_dismiss(agent);
        g_free(expect_error("permission-denied"));
        g_assert_cmpint(test_child_wait(caller->child), ==, 0);
        g_assert_cmpuint(agent->n_questions, ==, 1);
        g_assert_cmpuint(agent->n_cancelled, ==, 0);
}

static void assert_cancels(Machine *m, const char *const *argv) {
        g_autoptr(Caller) caller = caller_new(LOG, argv);
        g_autoptr(PlayedAgent) agent = played_agent_new(m, caller->child->pid);

        caller_call(caller);
        test_wait_for(agent->question);
        test_child_signal(caller->child, SIGUSR1);
        g_free(expect_error("cancelled"));
        test_wait_for(agent->n_cancelled == 1);
        g_assert_cmpint(test_child_wait(caller->child), ==, 0);
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
        g_assert_false(test_is_listening(machine_service_pid(), 80));
}

MACHINE_TEST("a cancelled call closes the dialog") {
        assert_cancels(m, PROGRAM("--interactive", "attach", "80"));
}

MACHINE_TEST("a cancelled call for a persistent listener closes the dialog") {
        assert_cancels(m, PROGRAM("--interactive", "--persistent", "attach", "80"));
}

/* ------------------------------------------------------------------------------------------- the deliveries
 */

/* Not even root, or another program of the same user. */
MACHINE_TEST("only the service may give a program connections") {
        TestClient *const others[] = { m->root, m->user };

        machine_configure("AllowSocketDelivery=no");
        g_autoptr(TestChild) program = start_program("incoming", "0");
        uint16_t port = expect_listening("by the service");
        g_autofree char *name = test_get_string(m->root, TEST_MANAGER_PATH "/listener/1", "Owner");

        for (size_t i = 0; i < ELEMENTS(others); i++) {
                sd_bus_message *message;

                must(sd_bus_message_new_method_call(test_client_bus(others[i]), &message, name,
                                                    TEST_MANAGER_PATH "/Client", TEST_CLIENT_INTERFACE,
                                                    "AcceptSocket"));
                g_autoptr(TestCall) call = test_call_start(others[i], message);
                test_wait_for(test_call_is_done(call));
                g_assert_cmpstr(test_call_error(call), ==, "org.freedesktop.DBus.Error.AccessDenied");
        }
        assert_serves(port);
        end_program(program);
}

MACHINE_TEST("connections come in calls if the administrator forbids sockets") {
        machine_configure("AllowSocketDelivery=no");
        for (size_t i = 0; i < ELEMENTS(modes); i++) {
                g_autoptr(TestChild) program = start_program("--socket", modes[i], "0");
                uint16_t port = expect_listening("by the service");
                g_autofree char *text = wait_for_line("no socket: ");

                assert_is_sentence(text);
                assert_serves(port);
                end_program(program);
        }
}

/* For tests with both: calls, which are the delivery if data is not NULL, and sockets. */
static void add(const char *name, MachineTest test) {
        g_autofree char *with_sockets = g_strdup_printf("/library/%s", name);
        g_autofree char *with_calls = g_strdup_printf("/library/%s, with calls", name);

        machine_add_full(with_sockets, test, NULL);
        machine_add_full(with_calls, test, "");
}

static void choose_delivery(const void *data) {
        if (data)
                machine_configure("AllowSocketDelivery=no");
}

/* --------------------------------------------------------------------------------------------- the end */

static void assert_is_closed(uint16_t port) {
        g_assert_cmpint(test_connect_fails("127.0.0.1", port), ==, ECONNREFUSED);
}

static void test_administrator_closes(Machine *m, const void *data) {
        choose_delivery(data);
        for (size_t i = 0; i < ELEMENTS(modes); i++) {
                g_autoptr(TestChild) program = start_program(modes[i], "0");
                uint16_t port = expect_listening("by the service");
                g_autofree char *number = g_strdup_printf("%zu", i + 1);

                assert_serves(port);
                g_free(machine_run("tcpserversocketctl", "close", number));
                expect_closed("administrator");
                assert_is_closed(port);
                end_program(program);
                expect_closed("administrator");
        }
}

static void test_service_stops(Machine *m, const void *data) {
        choose_delivery(data);
        g_autoptr(TestChild) program = start_program("attach", "0");
        uint16_t port = expect_listening("by the service");

        assert_serves(port);
        machine_stop_service();
        expect_closed("shutdown");
        assert_is_closed(port);
        end_program(program);
        expect_closed("shutdown");
}

static void test_bus_stops(Machine *m, const void *data) {
        choose_delivery(data);
        g_autoptr(TestChild) program = start_program("attach", "0");
        uint16_t port = expect_listening("by the service");

        assert_serves(port);
        g_free(machine_run("systemctl", "restart", "dbus.service"));
        expect_closed("disconnected");
        test_wait_for(test_client_is_disconnected(m->user));
        machine_connect_again(m);
        test_client_sync_service(m->user);
        assert_is_closed(port);
        end_program(program);
        expect_closed("disconnected");
}

static void test_interface_goes(Machine *m, const void *data) {
        choose_delivery(data);
        g_free(machine_run("ip", "link", "add", "vpn0", "type", "veth", "peer", "name", "peer0"));
        g_autoptr(TestChild) program = start_program("--interface=vpn0", "attach", "0");

        (void) expect_listening("by the service");
        g_free(machine_run("ip", "link", "del", "vpn0"));
        expect_closed("interface");
        end_program(program);
        expect_closed("interface");
}

/* --------------------------------------------------------------------------------------- restarts */

/* One may be lost with each kill: the one that had been accepted and not been stored yet. */
static void assert_counts(TestChild *program, unsigned n_peers, unsigned lost_max) {
        unsigned n_served, n_twice, n_empty;

        test_child_signal(program, SIGUSR2);
        g_autofree char *line = wait_for_line("served ");
        g_test_message("%u peers: served %s", n_peers, line);
        g_assert_cmpint(sscanf(line, "%u, %u twice, %u without a number", &n_served, &n_twice, &n_empty), ==,
                        3);
        g_assert_cmpuint(n_served, <=, n_peers);
        g_assert_cmpuint(n_served + lost_max, >=, n_peers);
        g_assert_cmpuint(n_twice, ==, 0);
        g_assert_cmpuint(n_empty, ==, 0);
}

static void test_restarts_under_load(Machine *m, const void *data) {
        static const Restart *const restarts[] = { &restart_crash, &restart_by_systemctl, &restart_upgrade };
        /* With sockets, the service has no part in connections. */
        unsigned lost_max = data ? 1 : 0;

        choose_delivery(data);
        restart_prepare();
        g_autoptr(TestChild) program = start_program("attach", "0");
        g_autoptr(TestChild) peers = start_peers(expect_listening("by the service"), 0);

        for (size_t i = 0; i < ELEMENTS(restarts); i++) {
                g_autofree char *progress = g_strdup_printf("%zu000\n", 2 * (i + 1));

                test_wait_for(test_file_contains(PEERS_LOG, progress));
                restart_begin(m, restarts[i]);
                restart_finish(m);
        }

        test_wait_for(test_file_contains(PEERS_LOG, "10000\n"));
        test_child_signal(peers, SIGTERM);
        assert_counts(program, finish_peers(peers, lost_max), lost_max);
        g_assert_cmpuint(count_lines("closed"), ==, 0);
        end_program(program);
        g_assert_cmpuint(count_lines("closed"), ==, 0);
}

/* ------------------------------------------------------------------------------------- no service */

static void assert_works_without_service(void) {
        g_autoptr(TestChild) program = start_program("attach", "0"), strict = NULL, privileged = NULL;

        assert_serves(expect_listening("by itself"));
        end_program(program);

        strict = start_program("--service-only", "attach", "0");
        g_free(expect_error("service-not-found"));
        privileged = start_program("attach", "80");
        g_free(expect_error("service-not-found"));
}

/* The commands make the service unavailable, and available again for the tear-down. */
static void with_service_gone(Machine *m, const char *remove, const char *restore) {
        g_free(machine_run("sh", "-c", remove));
        g_free(machine_run("systemctl", "daemon-reload"));
        test_call_driver(m->root, "ReloadConfig", "");
        assert_works_without_service();
        g_free(machine_run("sh", "-c", restore));
        g_free(machine_run("systemctl", "daemon-reload"));
        test_call_driver(m->root, "ReloadConfig", "");
}

MACHINE_TEST("without the service, a program binds ports by itself") {
        with_service_gone(m, "mkdir /run/removed && mv " SERVICE_FILE " " UNIT_FILE " /run/removed",
                          "cd /run/removed && mv *TCPServerSocket.service " SERVICE_FILE
                          " && mv * " UNIT_FILE);
}

MACHINE_TEST("with a masked service, a program binds ports by itself") {
        with_service_gone(m, "systemctl mask " MACHINE_UNIT, "systemctl unmask " MACHINE_UNIT);
}

/* ------------------------------------------------------------------------------ persistent listeners */

static void test_next_run_adopts(Machine *m, const void *data) {
        if (!machine_require_logind())
                return;
        choose_delivery(data);
        machine_start_logind();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autoptr(TestChild) first = start_program("--persistent", "attach", "0"), second = NULL;
        uint16_t port = expect_listening("by the service");

        assert_serves(port);
        end_program(first);
        /* Its peers wait for the next one. */
        g_autoptr(TestChild) peers = start_peers(port, 20);
        second = start_program("--adopt", "attach", "0");
        g_assert_cmpuint(expect_listening("by the service"), ==, port);
        (void) finish_peers(peers, 0);

        g_clear_pointer(&session, machine_session_free);
        expect_closed("logout");
        assert_is_closed(port);
        end_program(second);
        expect_closed("logout");
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);
        add("an administrator closes the port", test_administrator_closes);
        add("the service is stopped", test_service_stops);
        add("the bus is stopped", test_bus_stops);
        add("the network interface goes away", test_interface_goes);
        add("restarts under load are not noticed", test_restarts_under_load);
        add("the next run of a program adopts its listener, until the user logs out", test_next_run_adopts);
        if (g_test_slow())
                machine_add_full("/library/a user may need longer for the password than D-Bus waits",
                                 test_long_question, NULL);
        test_show_on_failure(LOG);
        test_show_on_failure(PEERS_LOG);
        return test_run();
}
