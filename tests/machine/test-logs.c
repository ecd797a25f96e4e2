/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The messages in the journal, and their limits. */

#include "base/message-ids.h"
#include "machine/session.h"

#define ID(name) "MESSAGE_ID=" MESSAGE_##name##_STR

#define DENY                                                                 \
        "polkit.addRule(function(action, subject) {"                         \
        "  if (action.id == 'org.example.TCPServerSocket.listen-privileged'" \
        "      && subject.user != 'root')"                                   \
        "    return polkit.Result.NO;"                                       \
        "});"

static char *uid_field(const char *user) {
        return g_strdup_printf("OWNER_UID=%u", machine_uid(user));
}

static void assert_field(const char *since, const char *id, const char *field, const char *expected) {
        test_assert_text(machine_journal_get(since, field, id, NULL), expected);
}

MACHINE_TEST("denied ports are logged") {
        g_autofree char *end = NULL, *uid = g_strdup_printf("%u", machine_uid(MACHINE_USER));

        machine_set_rule(DENY);
        end = machine_journal_end();
        g_free(test_listen_fails(m->user, NULL, 80, -1, NULL));
        assert_field(end, ID(REQUEST_DENIED), "PORT", "80");
        assert_field(end, ID(REQUEST_DENIED), "OWNER", test_client_name(m->user));
        assert_field(end, ID(REQUEST_DENIED), "OWNER_UID", uid);
        assert_field(end, ID(REQUEST_DENIED), "ADDRESS", "::");
        assert_field(end, ID(REQUEST_DENIED), "DELIVERY", "signal");
        assert_field(end, ID(REQUEST_DENIED), "ACTION", "org.example.TCPServerSocket.listen-privileged");
        assert_field(end, ID(REQUEST_DENIED), "SYSLOG_IDENTIFIER", "tcpserversocketd");
        assert_field(end, ID(REQUEST_DENIED), "PRIORITY", "5");
}

MACHINE_TEST("reached limits are logged") {
        g_autofree char *end = machine_journal_end(), *uid = g_strdup_printf("%u", machine_uid(MACHINE_USER));

        machine_configure("MaxListenersPerUser=1");
        g_free(test_listen(m->user, 0, -1, NULL));
        g_free(test_listen_fails(m->user, NULL, 0, -1, NULL));
        assert_field(end, ID(LIMIT_REACHED), "LIMIT", "MaxListenersPerUser");
        assert_field(end, ID(LIMIT_REACHED), "OWNER", test_client_name(m->user));
        assert_field(end, ID(LIMIT_REACHED), "OWNER_UID", uid);
}

/* Listeners use up the descriptors, and none is left to accept with. */
MACHINE_TEST("exhaustion is logged") {
        g_autoptr(GPtrArray) listeners = g_ptr_array_new_with_free_func(g_free);

        machine_configure_unit("SystemCallErrorNumber=kill\nLimitNOFILE=256");
        g_autofree char *end = machine_journal_end();
        g_autofree char *first = test_listen(m->root, 0, -1, NULL);
        for (;;) {
                sd_bus_message *message = test_message_new(m->root, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                           "Listen");
                const char *path;

                must(sd_bus_message_append(message, "ia{sv}i", 0, 0, -1));
                g_autoptr(TestCall) call = test_call_start(m->root, message);
                if (test_call_error(call)) {
                        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_LIMITS_EXCEEDED);
                        break;
                }
                g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &path), >, 0);
                g_ptr_array_add(listeners, g_strdup(path));
        }
        g_assert_cmpuint(listeners->len, >, 4);

        _cleanup_close_ int peer = test_connect("::1", test_get_port(m->root, first));
        g_autoptr(TestError) error = test_client_wait_error(m->root);
        g_assert_cmpstr(error->listener, ==, first);
        assert_field(end, ID(EXHAUSTED), "LISTENER", first);

        for (unsigned i = 0; i < 4; i++)
                test_listener_call(m->root, listeners->pdata[i], "Close");
        test_client_expect_peer(m->root, NULL, peer);
}

/* A listener without an owner may have promised its port. */
MACHINE_TEST("listeners closed by an administrator are logged") {
        g_autofree char *end = machine_journal_end(), *listener = NULL;

        listener = test_listen(m->user, 0, -1, TEST_PERSISTENT, TEST_ACKNOWLEDGE, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(m->user, listener));
        test_accepted_free(test_client_wait_accepted(m->user));
        g_clear_pointer(&m->user, test_client_free);
        test_wait_for(!test_has_owner(m->root, listener));
        test_listener_call(m->root, listener, "Close");
        (void) test_wait_end(peer);
        assert_field(end, ID(CONNECTION_LOST), "LISTENER", listener);
}

MACHINE_TEST("privileged and persistent listeners are logged with their owner, and no others") {
        pid_t pid = machine_start_unit("owner", "--property=User=" MACHINE_USER);
        TestClient *client = machine_client_new_in(MACHINE_USER, pid);
        g_autofree char *end = machine_journal_end(), *uid = uid_field(MACHINE_USER);

        g_free(test_listen(client, 0, -1, NULL));
        g_autofree char *persistent = test_listen(client, 0, -1, TEST_PERSISTENT_PULL, "localAddress", "s",
                                                  "127.0.0.1", "interface", "s", "lo", NULL);
        g_autofree char *port = g_strdup_printf("%u", test_get_port(client, persistent));
        g_autofree char *owner_pid = g_strdup_printf("%u",
                                                     (unsigned) test_get_u64(client, persistent, "OwnerPID"));
        assert_field(end, ID(LISTENER_GRANTED), "LISTENER", persistent);
        assert_field(end, ID(LISTENER_GRANTED), "PRIORITY", "5");
        assert_field(end, ID(LISTENER_GRANTED), "OWNER", test_client_name(client));
        assert_field(end, ID(LISTENER_GRANTED), "OWNER_UID", uid + strlen("OWNER_UID="));
        assert_field(end, ID(LISTENER_GRANTED), "OWNER_PID", owner_pid);
        assert_field(end, ID(LISTENER_GRANTED), "OWNER_UNIT", "guest-owner.service");
        assert_field(end, ID(LISTENER_GRANTED), "PORT", port);
        assert_field(end, ID(LISTENER_GRANTED), "ADDRESS", "127.0.0.1");
        assert_field(end, ID(LISTENER_GRANTED), "INTERFACE", "lo");
        assert_field(end, ID(LISTENER_GRANTED), "DELIVERY", "pull");
        assert_field(end, ID(LISTENER_GRANTED), "PERSISTENT", "yes");
        assert_field(end, ID(LISTENER_GRANTED), "ACTION", "org.example.TCPServerSocket.listen");
        g_assert_cmpuint(machine_journal_count(end, uid, NULL), ==, 1);
        test_client_free(client);
        machine_stop_unit("owner");

        /* No action of polkit has allowed it to root. */
        g_autofree char *later = machine_journal_end();
        g_free(test_listen(m->root, 80, -1, TEST_SOCKET, NULL));
        assert_field(later, ID(LISTENER_GRANTED), "PORT", "80");
        assert_field(later, ID(LISTENER_GRANTED), "PERSISTENT", "no");
        g_assert_null(machine_journal_get(later, "ACTION", ID(LISTENER_GRANTED), NULL));
}

MACHINE_TEST("a listener that another user closes is logged, with that user") {
        g_autofree char *mine = NULL, *yours = NULL, *end = NULL, *later = NULL, *pid = NULL;

        mine = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        yours = test_listen(m->user, 0, -1, NULL);
        pid = g_strdup_printf("%u", (unsigned) getpid());
        end = machine_journal_end();
        test_listener_call(m->root, yours, "Close");
        assert_field(end, ID(LISTENER_CLOSED), "LISTENER", yours);
        assert_field(end, ID(LISTENER_CLOSED), "OWNER", test_client_name(m->user));
        assert_field(end, ID(LISTENER_CLOSED), "CALLER", test_client_name(m->root));
        assert_field(end, ID(LISTENER_CLOSED), "CALLER_UID", "0");
        assert_field(end, ID(LISTENER_CLOSED), "CALLER_PID", pid);
        g_assert_null(machine_journal_get(end, "ACTION", ID(LISTENER_CLOSED), NULL));

        /* The owner itself, and its user when there is no owner. */
        later = machine_journal_end();
        test_listener_call(m->user, mine, "Close");
        g_free(mine);
        mine = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        g_clear_pointer(&m->user, test_client_free);
        test_wait_for(!test_has_owner(m->root, mine));
        m->user = machine_client_new(m, MACHINE_USER);
        test_listener_call(m->user, mine, "Close");
        test_client_sync_service(m->user);
        g_assert_cmpuint(machine_journal_count(later, ID(LISTENER_CLOSED), NULL), ==, 0);
}

MACHINE_TEST("refusals do not suppress the messages about listeners") {
        g_autofree char *end = NULL, *uid = uid_field(MACHINE_USER);

        machine_set_rule(DENY);
        end = machine_journal_end();
        for (unsigned i = 0; i < 100; i++)
                g_free(test_listen_fails(m->user, NULL, 80, -1, NULL));
        g_free(test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL));
        assert_field(end, ID(LISTENER_GRANTED), "OWNER_UID", uid + strlen("OWNER_UID="));
}

MACHINE_TEST("persistent listeners do not suppress the messages about privileged ones") {
        g_autofree char *end = NULL, *listener = NULL, *uid = uid_field(MACHINE_USER);

        machine_set_rule("polkit.addRule(function(action, subject) { return polkit.Result.YES; });");
        end = machine_journal_end();
        for (unsigned i = 0; i < 60; i++) {
                g_autofree char *persistent = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);

                test_listener_call(m->user, persistent, "Close");
        }
        listener = test_listen(m->user, 80, -1, NULL);
        test_wait_for(machine_journal_count(end, ID(LISTENER_GRANTED), "PORT=80", uid, NULL) == 1);
        test_listener_call(m->root, listener, "Close");
        test_wait_for(machine_journal_count(end, ID(LISTENER_CLOSED), "PORT=80", uid, NULL) == 1);
        g_assert_cmpuint(machine_journal_count(end, ID(LISTENER_GRANTED), uid, NULL), ==, 31);
}

MACHINE_TEST("messages have explanations") {
        static const char *const english[] = { "Subject: A request for a port was denied",
                                               "Defined-By: tcpserversocket", "asked for port 443",
                                               "\"org.example.TCPServerSocket.listen-privileged\"" };

        machine_set_rule(DENY);
        g_autofree char *end = machine_journal_end();
        g_free(test_listen_fails(m->user, NULL, 443, -1, NULL));
        g_free(machine_journal_get(end, "MESSAGE", ID(REQUEST_DENIED), NULL));

        g_autofree char *output = machine_run("journalctl", "--no-pager", "--catalog", "--unit", MACHINE_UNIT,
                                              ID(REQUEST_DENIED), "PORT=443");
        for (size_t i = 0; i < ELEMENTS(english); i++)
                if (!strstr(output, english[i]))
                        g_error("\"%s\" is not in: %s", english[i], output);

        g_clear_pointer(&output, g_free);
        output = machine_run("journalctl", "--no-pager", "--output=json", "--unit", MACHINE_UNIT,
                             ID(REQUEST_DENIED), "PORT=443");
        g_assert_nonnull(strstr(output, "\"ACTION\":\"org.example.TCPServerSocket.listen-privileged\""));
}

MACHINE_TEST("all explanations are in two languages") {
        static const char *const ids[] = {
                MESSAGE_EXHAUSTED_STR,        MESSAGE_CONNECTION_LOST_STR, MESSAGE_LISTENER_FAILED_STR,
                MESSAGE_LIMIT_REACHED_STR,    MESSAGE_REQUEST_DENIED_STR,  MESSAGE_CONFIGURATION_STR,
                MESSAGE_LISTENER_GRANTED_STR, MESSAGE_LISTENER_CLOSED_STR,
        };

        g_autofree char *german = test_read_file("/usr/lib/systemd/catalog/tcpserversocketd.de.catalog");
        for (size_t i = 0; i < ELEMENTS(ids); i++) {
                g_autofree char *header = g_strdup_printf("\n-- %s\n", ids[i]);

                g_free(machine_run("journalctl", "--dump-catalog", ids[i]));
                g_assert_nonnull(strstr(german, header));
        }

        /* journalctl speaks the language of its locale, where that can be had. */
        if (access("/usr/share/i18n/locales/de_DE", F_OK) < 0)
                return;
        g_free(machine_run("localedef", "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8"));
        g_autofree char *english = machine_run("journalctl", "--dump-catalog", MESSAGE_EXHAUSTED_STR);
        g_assert_nonnull(strstr(english, "No connections can be accepted"));
        g_clear_pointer(&german, g_free);
        german = machine_run("env", "LC_ALL=de_DE.UTF-8", "journalctl", "--dump-catalog",
                             MESSAGE_EXHAUSTED_STR);
        g_assert_nonnull(strstr(german, "Aus Mangel an Ressourcen"));
}

MACHINE_TEST("the log level can be set") {
        test_client_sync_service(m->user);
        g_autofree char *level = machine_run("systemctl", "service-log-level", MACHINE_UNIT);
        g_assert_cmpstr(level, ==, "info");
        g_autofree char *target = machine_run("systemctl", "service-log-target", MACHINE_UNIT);
        g_assert_cmpstr(target, ==, "auto");

        g_autofree char *end = machine_journal_end();
        g_free(test_listen(m->user, 0, -1, NULL));
        test_client_sync_service(m->user);
        g_assert_cmpuint(machine_journal_count(end, "PRIORITY=7", NULL), ==, 0);

        g_free(machine_run("systemctl", "service-log-level", MACHINE_UNIT, "debug"));
        g_free(test_listen(m->user, 0, -1, NULL));
        test_wait_for(machine_journal_count(end, "PRIORITY=7", NULL) > 0);

        g_free(machine_run("systemctl", "service-log-level", MACHINE_UNIT, "warning"));
        g_clear_pointer(&level, g_free);
        level = machine_run("systemctl", "service-log-level", MACHINE_UNIT);
        g_assert_cmpstr(level, ==, "warning");
}

/* Everything that a user can do to be logged, as fast as it can. */
MACHINE_TEST("a user cannot flood the journal") {
        g_autoptr(TestClient) other = machine_client_new(m, MACHINE_WEB_USER);
        g_autofree char *end = NULL, *uid = uid_field(MACHINE_USER), *other_uid = uid_field(MACHINE_WEB_USER);

        machine_set_rule(DENY);
        machine_configure("MaxListenersPerUser=1");
        end = machine_journal_end();
        g_free(test_listen(m->user, 0, -1, NULL));
        for (unsigned i = 0; i < 500; i++) {
                g_free(test_listen_fails(m->user, NULL, 80, -1, NULL));
                g_free(test_listen_fails(m->user, NULL, 0, -1, NULL));
                g_free(test_listen_fails(m->user, NULL, 0, -1, "nonsense", "b", true, NULL));
        }
        unsigned n = machine_journal_count(end, uid, NULL);
        g_test_message("%u entries for 1500 refused calls", n);
        g_assert_cmpuint(n, >, 0);
        g_assert_cmpuint(n, <=, 50);
        g_assert_cmpuint(machine_journal_count(end, NULL), <=, 60);

        /* Messages about other users are not suppressed. */
        g_free(test_listen_fails(other, NULL, 80, -1, NULL));
        test_wait_for(machine_journal_count(end, other_uid, ID(REQUEST_DENIED), NULL) == 1);

        /* At the end, their number is logged. */
        unsigned n_before = machine_count_logged("Suppressed ");
        machine_stop_service();
        test_wait_for(machine_count_logged("Suppressed ") == n_before + 1);
}

/* Lines of its own cannot be faked by way of a name. */
MACHINE_TEST("a user cannot forge a line") {
        test_assert_text(test_listen_fails(m->user, NULL, 0, -1, "name", "s", "x\nMESSAGE_ID=1", NULL),
                         SD_BUS_ERROR_INVALID_ARGS);
        test_assert_text(test_listen_fails(m->user, NULL, 0, -1, "\n-- MARK --\n", "b", true, NULL),
                         SD_BUS_ERROR_INVALID_ARGS);
        g_assert_cmpuint(machine_count_logged("-- MARK --"), ==, 0);
}

MACHINE_TEST("a journal that hangs does not block the service") {
        g_free(machine_run("systemctl", "kill", "--signal=SIGSTOP", "systemd-journald.service"));
        machine_configure("AllowedPorts=1024-65535");
        for (unsigned i = 0; i < 100; i++) {
                g_autofree char *listener = test_listen(m->root, 0, -1, NULL);

                test_assert_served(m->root, listener, "::1");
                g_free(test_listen_fails(m->root, NULL, 80, -1, NULL));
                test_listener_call(m->root, listener, "Close");
        }
        g_free(machine_run("systemctl", "kill", "--signal=SIGCONT", "systemd-journald.service"));
}

#define JOURNAL_UNITS "systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket"

/* That is logged. Returns the path. */
static char *be_closed_by_administrator(Machine *m) {
        char *listener = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);

        test_assert_served(m->user, listener, "::1");
        test_listener_call(m->root, listener, "Close");
        test_client_expect_closed(m->user, listener, "administrator");
        return listener;
}

/* The standard error of the service is a stream to it. */
MACHINE_TEST("without journald, the service goes on, and it logs again when journald is back") {
        test_client_sync_service(m->user);
        pid_t pid = machine_service_pid();

        g_free(machine_run("systemctl", "stop", JOURNAL_UNITS));
        for (unsigned i = 0; i < 3; i++)
                g_free(be_closed_by_administrator(m));
        g_free(machine_run("systemctl", "start", JOURNAL_UNITS));
        g_autofree char *end = machine_journal_end(), *listener = be_closed_by_administrator(m);
        assert_field(end, ID(LISTENER_CLOSED), "LISTENER", listener);
        g_assert_cmpint(machine_service_pid(), ==, pid);
}
