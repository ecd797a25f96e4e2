/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Persistent listeners end with the last session of their user, as systemd-logind reports it. */

#include "base/message-ids.h"
#include "machine/session.h"

#define CLOSED "MESSAGE_ID=" MESSAGE_LISTENER_CLOSED_STR

/* A persistent listener of a program in this session or unit, which then exits. */
static char *listen_and_exit(Machine *m, pid_t place) {
        TestClient *client = machine_client_new_in(MACHINE_USER, place);
        char *listener = test_listen(client, 0, -1, TEST_PERSISTENT, NULL);

        test_client_free(client);
        test_wait_for(!test_has_owner(m->root, listener));
        return listener;
}

static void assert_gone(Machine *m) {
        test_wait_for(machine_count_listed(m->root) == 0);
}

/* logind and the service have handled all that happened before. */
static void assert_stays(Machine *m, const char *listener) {
        g_free(machine_run("loginctl", "list-users"));
        test_client_sync_service(m->root);
        test_client_sync_service(m->root);
        g_assert_cmpuint(test_get_port(m->root, listener), >, 0);
}

MACHINE_TEST("a listener ends with the last session of its user, and the journal says so") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        g_autoptr(MachineSession) first = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autoptr(MachineSession) second = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);
        g_autofree char *end = machine_journal_end(), *uid = g_strdup_printf("%u", machine_uid(MACHINE_USER));
        g_autofree char *listener = listen_and_exit(m, machine_session_pid(first));

        g_clear_pointer(&first, machine_session_free);
        assert_stays(m, listener);
        g_clear_pointer(&second, machine_session_free);
        assert_gone(m);
        test_assert_text(machine_journal_get(end, "LISTENER", CLOSED, NULL), listener);
        test_assert_text(machine_journal_get(end, "OWNER_UID", CLOSED, NULL), uid);
        g_assert_null(machine_journal_get(end, "CALLER", CLOSED, NULL));
}

MACHINE_TEST("the owner is told that its user has logged out") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        /* Its process is in no session. */
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        g_autofree char *plain = test_listen(m->user, 0, -1, NULL);

        g_clear_pointer(&session, machine_session_free);
        test_client_expect_closed(m->user, listener, "logout");
        assert_stays(m, plain);
}

MACHINE_TEST("the listeners of a user that lingers stay until lingering ends") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autofree char *listener = listen_and_exit(m, machine_session_pid(session));

        g_free(machine_run("loginctl", "enable-linger", MACHINE_USER));
        g_clear_pointer(&session, machine_session_free);
        assert_stays(m, listener);
        g_free(machine_run("loginctl", "disable-linger", MACHINE_USER));
        assert_gone(m);
}

MACHINE_TEST("the listener of a system service stays when its user logs in and out") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        pid_t pid = machine_start_unit("service", "--property=User=" MACHINE_USER);
        g_autofree char *listener = listen_and_exit(m, pid);
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);

        assert_stays(m, listener);
        g_clear_pointer(&session, machine_session_free);
        test_wait_for(!machine_user_is_known(MACHINE_USER));
        assert_stays(m, listener);
        machine_stop_unit("service");
}

MACHINE_TEST("the listener of root stays when root logs out") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        g_autoptr(MachineSession) session = machine_session_new("root", MACHINE_SESSION_REMOTE);
        g_autofree char *listener = test_listen(m->root, 0, -1, TEST_PERSISTENT, NULL);

        g_clear_pointer(&session, machine_session_free);
        test_wait_for(!machine_user_is_known("root"));
        assert_stays(m, listener);
}

MACHINE_TEST("a logout that the service misses is noticed when it starts again") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autofree char *listener = listen_and_exit(m, machine_session_pid(session));
        pid_t pid = machine_service_pid();

        g_assert_no_errno(kill(pid, SIGSTOP));
        g_clear_pointer(&session, machine_session_free);
        test_wait_for(!machine_user_is_known(MACHINE_USER));
        g_assert_no_errno(kill(pid, SIGKILL));
        test_wait_for(machine_process_is_gone(pid) && !test_bus_service_owner(m->bus));
        assert_gone(m);
}

MACHINE_TEST("a listener of a system service that is older than logind stays") {
        if (!machine_require_logind())
                return;
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);

        test_client_sync_service(m->user);
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        machine_start_logind();
        assert_stays(m, listener);
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        assert_stays(m, listener);
}

MACHINE_TEST("a logout is noticed after restarts of the service and of logind") {
        if (!machine_require_logind())
                return;
        machine_start_logind();
        g_autoptr(MachineSession) session = machine_session_new(MACHINE_USER, MACHINE_SESSION_REMOTE);
        g_autofree char *listener = listen_and_exit(m, machine_session_pid(session));

        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        assert_stays(m, listener);
        g_free(machine_run("systemctl", "restart", "systemd-logind.service"));
        assert_stays(m, listener);
        g_clear_pointer(&session, machine_session_free);
        assert_gone(m);
}
