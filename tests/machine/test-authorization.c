/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The answers of polkit, with the installed actions and rule alone, to callers in sessions of logind, in
 * services, and elsewhere. */

#include "machine/session.h"

/* What polkit says to a call that allows no question. */
typedef enum Answer {
        ANSWER_YES,
        ANSWER_AUTHENTICATION,
        ANSWER_NO,
} Answer;

static Answer answer_of(const char *error) {
        if (!error)
                return ANSWER_YES;
        if (streq(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                return ANSWER_AUTHENTICATION;
        g_assert_cmpstr(error, ==, SD_BUS_ERROR_ACCESS_DENIED);
        return ANSWER_NO;
}

static Answer ask_to_listen(TestClient *client, int port) {
        g_autoptr(TestCall) call = test_listen_start(client, port, false);

        return answer_of(test_call_error(call));
}

/* Without authorization, the path looks as if there was no listener. */
static bool may_manage(Machine *m, TestClient *client) {
        g_autofree char *listener = test_listen(m->root, 0, -1, NULL);
        g_autoptr(TestCall) call = test_call_start(
                        client, test_message_new(client, listener, TEST_LISTENER_INTERFACE, "Close"));
        const char *error = test_call_error(call);

        if (error)
                g_assert_cmpstr(error, ==, SD_BUS_ERROR_UNKNOWN_OBJECT);
        return !error;
}

static void assert_answer(Machine *m, TestClient *client, Answer listen) {
        g_assert_cmpint(ask_to_listen(client, 0), ==, listen);
        g_assert_cmpint(ask_to_listen(client, 80), ==, ANSWER_AUTHENTICATION);
        g_assert_false(may_manage(m, client));
        test_client_free(client);
}

static void assert_user_of_session(Machine *m, TestClient *client) {
        assert_answer(m, client, ANSWER_YES);
}

/* An administrator has to authenticate. */
static void assert_other(Machine *m, TestClient *client) {
        assert_answer(m, client, ANSWER_AUTHENTICATION);
}

static void set_up(Machine *m, const void *data) {
        machine_set_up(m, data);
        machine_start_logind();
        machine_use_installed_rules();
}

static bool find_user_manager(const char *user, pid_t *ret) {
        g_autofree char *unit = g_strdup_printf("user@%u.service", (unsigned) machine_uid(user));
        g_autofree char *pid = machine_run("systemctl", "show", "--property=MainPID", "--value", unit);

        *ret = (pid_t) g_ascii_strtoll(pid, NULL, 10);
        return *ret != 0;
}

/* Its services are in its own control group. */
static TestClient *service_client_new(const char *user) {
        pid_t pid;

        test_wait_for(find_user_manager(user, &pid));
        return machine_client_new_in(user, pid);
}

#define LOGIN_TEST(sentence) \
        TEST_OF_IF(machine_require_logind(), sentence, Machine, m, set_up, machine_tear_down, NULL)

static void assert_defaults(const char *action, const char *any, const char *inactive, const char *active) {
        g_autofree char *name = g_strdup_printf("org.example.TCPServerSocket.%s", action);
        g_autofree char *shown = machine_run("pkaction", "--verbose", "--action-id", name);
        g_autofree char *defaults = g_strdup_printf("implicit any:      %s\n"
                                                    "  implicit inactive: %s\n"
                                                    "  implicit active:   %s\n",
                                                    any, inactive, active);

        g_assert_nonnull(strstr(shown, defaults));
}

LOGIN_TEST("an authentication is kept in the active session of a seat only") {
        assert_defaults("listen", "auth_admin", "yes", "yes");
        assert_defaults("listen-privileged", "auth_admin", "auth_admin", "auth_admin_keep");
        assert_defaults("manage", "auth_admin", "auth_admin", "auth_admin_keep");
}

/* ------------------------------------------------------------------------------- users with a session */

LOGIN_TEST("a program in a session may listen") {
        g_autoptr(MachineSession) remote = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autoptr(MachineSession) seat = machine_session_new(MACHINE_WEB_USER, MACHINE_SESSION_SEAT);

        assert_user_of_session(m, machine_client_new_in(MACHINE_USER, machine_session_pid(remote)));
        assert_user_of_session(m, machine_client_new_in(MACHINE_WEB_USER, machine_session_pid(seat)));
        /* As sudo and su leave it there. */
        assert_user_of_session(m, machine_client_new_in("nobody", machine_session_pid(remote)));
}

#define SSH_PORT 2222
#define SSH_OUTPUT "/run/ssh-output"

static bool find_pid(pid_t *ret) {
        g_autofree char *output = test_read_file(SSH_OUTPUT);
        const char *pid = strstr(output, "pid ");

        if (!pid || !strchr(pid, '\n'))
                return false;
        *ret = (pid_t) g_ascii_strtoll(pid + strlen("pid "), NULL, 10);
        return true;
}

LOGIN_TEST("a program that sshd has started may listen") {
        pid_t pid;

        if (!test_require_program("ssh") || !test_require_program("/usr/sbin/sshd"))
                return;
        g_free(machine_run("sh", "-c",
                           "mkdir -p -m 0755 /run/sshd && ssh-keygen -q -t ed25519 -N '' -f /run/host-key"));
        g_free(machine_run("runuser", "-l", MACHINE_USER, "-c",
                           "umask 077; mkdir .ssh; ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519; "
                           "cp .ssh/id_ed25519.pub .ssh/authorized_keys"));
        g_autoptr(TestChild) server = machine_start_as(
                        NULL, "/run/sshd-output",
                        WORDS("/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", "/run/host-key", "-p",
                              G_STRINGIFY(SSH_PORT), "-o", "UsePAM=yes", "-o", "PidFile=none"));
        test_wait_for(test_is_listening(server->pid, SSH_PORT));
        g_autoptr(TestChild) ssh = machine_start_as(
                        NULL, SSH_OUTPUT,
                        WORDS("runuser", "-l", MACHINE_USER, "-c",
                              "exec ssh -p " G_STRINGIFY(
                                              SSH_PORT) " -o BatchMode=yes -o StrictHostKeyChecking=no "
                                                        "127.0.0.1 'echo pid $$; exec sleep infinity'"));
        test_wait_for(find_pid(&pid));
        assert_user_of_session(m, machine_client_new_in(MACHINE_USER, pid));

        test_child_signal(ssh, SIGTERM);
        g_assert_no_errno(kill(pid, SIGTERM));
        test_wait_for(!machine_user_is_known(MACHINE_USER));
        assert_other(m, machine_client_new(m, MACHINE_USER));
}

static bool session_is_active(MachineSession *session) {
        g_autofree char *active = machine_run("loginctl", "show-session", "--property=Active", "--value",
                                              machine_session_id(session));

        return streq(active, "yes");
}

LOGIN_TEST("a program in an inactive session of a seat may listen") {
        g_autoptr(MachineSession) one = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);
        g_autoptr(MachineSession) another = machine_session_new(MACHINE_WEB_USER, MACHINE_SESSION_SEAT);

        g_assert_cmpint(session_is_active(one), !=, session_is_active(another));
        assert_user_of_session(m, machine_client_new_in(MACHINE_USER, machine_session_pid(one)));
        assert_user_of_session(m, machine_client_new_in(MACHINE_WEB_USER, machine_session_pid(another)));
}

LOGIN_TEST("a service of a user at a seat may listen") {
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);

        assert_user_of_session(m, service_client_new(MACHINE_USER));
}

/* ---------------------------------------------------------------------------------------- other callers */

LOGIN_TEST("a program of a system service needs authentication") {
        pid_t pid = machine_start_unit("service", "--property=User=www-data");

        assert_other(m, machine_client_new_in("www-data", pid));
}

LOGIN_TEST("a program of a confined service needs authentication") {
        pid_t pid = machine_start_unit("confined", "--property=User=www-data",
                                       "--property=PrivateNetwork=yes", "--property=NoNewPrivileges=yes",
                                       "--property=RestrictAddressFamilies=AF_UNIX");

        assert_other(m, machine_client_new_in("www-data", pid));
}

/* As a job of cron, without a session, even if its user has one. */
LOGIN_TEST("a program of a user in a system service needs authentication") {
        pid_t pid = machine_start_unit("job", "--property=User=" MACHINE_USER);

        assert_other(m, machine_client_new_in(MACHINE_USER, pid));
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);
        assert_other(m, machine_client_new_in(MACHINE_USER, pid));
}

LOGIN_TEST("a service of a lingering user needs authentication") {
        g_free(machine_run("loginctl", "enable-linger", MACHINE_USER));
        assert_other(m, service_client_new(MACHINE_USER));
}

/* As tcpserversocketd(8) has it. */
static void set_rule_for(const char *user) {
        g_autofree char *rule = g_strdup_printf(
                        "polkit.addRule(function(action, subject) {\n"
                        "    if (action.id == \"org.example.TCPServerSocket.listen\" && subject.user == \"%s\")\n"
                        "        return polkit.Result.YES;\n"
                        "});\n",
                        user);

        machine_set_rule(rule);
}

LOGIN_TEST("a rule allows a user's system services and lingering services to listen") {
        pid_t service = machine_start_unit("service", "--property=User=www-data");
        pid_t job = machine_start_unit("job", "--property=User=" MACHINE_USER);

        set_rule_for("www-data");
        assert_answer(m, machine_client_new_in("www-data", service), ANSWER_YES);
        assert_other(m, machine_client_new_in(MACHINE_USER, job));

        set_rule_for(MACHINE_USER);
        g_free(machine_run("loginctl", "enable-linger", MACHINE_USER));
        assert_answer(m, service_client_new(MACHINE_USER), ANSWER_YES);
        assert_other(m, machine_client_new_in("www-data", service));
}

/* The action's defaults are for the seat, and the rule for the session that the program itself is in. */
LOGIN_TEST("a service of a user with a remote session needs authentication") {
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);

        assert_other(m, service_client_new(MACHINE_USER));
}

LOGIN_TEST("a program in a session of the background may listen") {
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_BACKGROUND);

        assert_user_of_session(m, machine_client_new_in(MACHINE_USER, machine_session_pid(session)));
}

LOGIN_TEST("a program that stays in its session after the logout may listen") {
        MachineSession *session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autofree char *file = g_strdup_printf("/run/systemd/sessions/%s", machine_session_id(session));
        TestClient *client = machine_client_new_in(MACHINE_USER, machine_session_pid(session));

        machine_session_log_out(session);
        test_wait_for(test_file_contains(file, "STATE=closing"));
        assert_user_of_session(m, client);
        machine_session_free(session);
}

#define UNKNOWN_UID 3000000000U

static Answer ask_to_persist(TestClient *client, int port) {
        sd_bus_message *call = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen");

        must(sd_bus_message_append(call, "ia{sv}i", port, 1, "persistent", "b", true, -1));
        g_autoptr(TestCall) waiting = test_call_start(client, call);
        return answer_of(test_call_error(waiting));
}

/* As the subordinate uids of a user's containers. dbus-daemon does not let them in. */
LOGIN_TEST("a program of an unknown user in a session may not have persistent listeners") {
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);

        if (!test_bus_is_broker()) {
                g_test_skip("needs dbus-broker");
                return;
        }
        TestClient *known = machine_client_new_in(MACHINE_USER, machine_session_pid(session));
        TestClient *unknown = machine_client_new_of_uid_in(UNKNOWN_UID, machine_session_pid(session));

        g_assert_cmpint(ask_to_persist(known, 0), ==, ANSWER_YES);
        g_assert_cmpint(ask_to_persist(known, 80), ==, ANSWER_AUTHENTICATION);
        g_assert_cmpint(ask_to_listen(unknown, 0), ==, ANSWER_YES);
        g_assert_cmpint(ask_to_persist(unknown, 0), ==, ANSWER_NO);
        g_assert_cmpint(ask_to_persist(unknown, 80), ==, ANSWER_NO);
        test_client_free(known);
        test_client_free(unknown);
}
