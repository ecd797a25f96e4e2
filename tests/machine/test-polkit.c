/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The authorization of Listen by the rules of the real polkitd. test-agent.c has its questions. */

#include "machine/machine.h"

#define INTERACTIVE_REQUIRED SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED

static void assert_denied(TestClient *client, int port, const char *name) {
        test_assert_text(test_listen_fails(client, NULL, port, -1, NULL), name);
}

static void assert_listens(TestClient *client, int port) {
        g_autofree char *listener = test_listen(client, port, -1, NULL);

        if (port > 0)
                g_assert_cmpuint(test_get_port(client, listener), ==, port);
        test_assert_served(client, listener, "127.0.0.1");
        test_listener_call(client, listener, "Close");
}

MACHINE_TEST("all users may use unprivileged ports") {
        assert_listens(m->user, 0);
        assert_listens(m->user, -1);
        assert_listens(m->user, test_free_port());
        assert_listens(m->user, 1024);
}

MACHINE_TEST("privileged ports need an authorization") {
        g_autofree char *message = NULL;

        test_assert_text(test_listen_fails(m->user, &message, 80, -1, NULL), INTERACTIVE_REQUIRED);
        assert_denied(m->user, 1023, INTERACTIVE_REQUIRED);
        assert_denied(m->user, 1, INTERACTIVE_REQUIRED);
        g_assert_cmpint(test_connect_fails("127.0.0.1", 80), ==, ECONNREFUSED);

        /* The caller allows questions, but no agent is running. */
        g_autoptr(TestCall) call = test_listen_start(m->user, 80, true);
        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_ACCESS_DENIED);
}

MACHINE_TEST("the sysctl decides which ports are privileged") {
        g_free(machine_run("sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=80"));
        assert_listens(m->user, 80);
        assert_denied(m->user, 79, INTERACTIVE_REQUIRED);
        g_free(machine_run("sysctl", "-q", "-w", "net.ipv4.ip_unprivileged_port_start=1024"));
        assert_denied(m->user, 80, INTERACTIVE_REQUIRED);
}

MACHINE_TEST("a rule can forbid") {
        g_autoptr(TestClient) other = machine_client_new(m, MACHINE_WEB_USER);

        machine_set_rule("polkit.addRule(function(action, subject) {"
                         "  if (action.id.indexOf('org.example.TCPServerSocket.') == 0 &&"
                         "      subject.user != '" MACHINE_WEB_USER "')"
                         "    return polkit.Result.NO;"
                         "});");
        assert_denied(m->user, 0, SD_BUS_ERROR_ACCESS_DENIED);
        assert_denied(m->user, 80, SD_BUS_ERROR_ACCESS_DENIED);
        assert_listens(other, 0);
        /* polkit is not asked about root. */
        assert_listens(m->root, 0);
        assert_listens(m->root, 80);
}

/* The rule that the documentation gives. */
MACHINE_TEST("a rule allows one port to one group") {
        g_autoptr(TestClient) web = machine_client_new(m, MACHINE_WEB_USER);

        machine_set_rule("polkit.addRule(function(action, subject) {"
                         "  if (action.id == 'org.example.TCPServerSocket.listen-privileged' &&"
                         "      action.lookup('port') == '80' && subject.isInGroup('" MACHINE_WEB_GROUP "'))"
                         "    return polkit.Result.YES;"
                         "});");
        assert_listens(web, 80);
        assert_denied(web, 81, INTERACTIVE_REQUIRED);
        assert_denied(web, 443, INTERACTIVE_REQUIRED);
        assert_denied(m->user, 80, INTERACTIVE_REQUIRED);
        g_assert_cmpuint(machine_count_listed(web), ==, 0);
}

MACHINE_TEST("a rule sees the details") {
        machine_set_rule(
                        "polkit.addRule(function(action, subject) {"
                        "  if (action.id == 'org.example.TCPServerSocket.listen-privileged' &&"
                        "      action.lookup('port') == '843' && action.lookup('address') == '127.0.0.1' &&"
                        "      action.lookup('interface') == 'lo' && action.lookup('delivery') == 'signal' &&"
                        "      action.lookup('name') == 'my shop')"
                        "    return polkit.Result.YES;"
                        "});");
        g_autofree char *listener = test_listen(m->user, 843, -1, "localAddress", "s", "127.0.0.1",
                                                "interface", "s", "lo", "name", "s", "my shop", NULL);
        test_assert_served(m->user, listener, "127.0.0.1");
        test_listener_call(m->user, listener, "Close");

        g_free(test_listen_fails(m->user, NULL, 843, -1, "localAddress", "s", "127.0.0.1", "interface", "s",
                                 "lo", "name", "s", "my shoe", NULL));
        g_free(test_listen_fails(m->user, NULL, 843, -1, "localAddress", "s", "127.0.0.2", "interface", "s",
                                 "lo", "name", "s", "my shop", NULL));
        g_free(test_listen_fails(m->user, NULL, 843, -1, "localAddress", "s", "127.0.0.1", "name", "s",
                                 "my shop", NULL));
}

/* A rule that forbids an interface must not be passed by another name of it. */
MACHINE_TEST("a rule sees the name that the kernel uses for an interface") {
        static const struct {
                const char *address, *interface;
        } cases[] = { { "::", "other-name" }, { "fe80::77%other-name", "" } };

        machine_set_rule("polkit.addRule(function(action, subject) {"
                         "  if (action.id == 'org.example.TCPServerSocket.listen' &&"
                         "      action.lookup('interface') == 'lo')"
                         "    return polkit.Result.NO;"
                         "});");
        g_free(machine_run("ip", "link", "property", "add", "dev", "lo", "altname", "other-name"));
        g_free(machine_run("ip", "address", "add", "fe80::77/64", "dev", "lo", "nodad"));
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *error = *cases[i].interface ? test_listen_fails(m->user, NULL, 0, -1,
                                                                                 "localAddress", "s",
                                                                                 cases[i].address,
                                                                                 "interface", "s",
                                                                                 cases[i].interface, NULL)
                                                             : test_listen_fails(m->user, NULL, 0, -1,
                                                                                 "localAddress", "s",
                                                                                 cases[i].address, NULL);

                g_assert_cmpstr(error, ==, SD_BUS_ERROR_ACCESS_DENIED);
        }
        g_free(test_listen_fails(m->user, NULL, 0, -1, "interface", "s", "lo:1", NULL));
        assert_listens(m->user, 0);
        g_free(machine_run("ip", "address", "del", "fe80::77/64", "dev", "lo"));
        g_free(machine_run("ip", "link", "property", "del", "dev", "lo", "altname", "other-name"));
}

MACHINE_TEST("only managers may use listeners of other users") {
        g_autoptr(TestClient) web = machine_client_new(m, MACHINE_WEB_USER);

        machine_set_rule("polkit.addRule(function(action, subject) {"
                         "  if (action.id == 'org.example.TCPServerSocket.manage' &&"
                         "      subject.isInGroup('" MACHINE_WEB_GROUP "'))"
                         "    return polkit.Result.YES;"
                         "});");
        g_autofree char *others = test_listen(m->root, 0, -1, NULL);
        g_autofree char *own = test_listen(m->user, 0, -1, NULL);

        g_assert_cmpuint(machine_count_listed(m->user), ==, 1);
        g_assert_cmpuint(machine_count_listed(web), ==, 2);
        g_assert_cmpuint(machine_count_listed(m->root), ==, 2);

        /* The caller may not know whether there is such a listener. */
        test_assert_text(test_listener_call_fails(m->user, others, "Close"), SD_BUS_ERROR_UNKNOWN_OBJECT);
        test_assert_text(test_listener_call_fails(web, others, "Pause"), SD_BUS_ERROR_UNKNOWN_OBJECT);
        test_listener_call(web, others, "Close");
        test_client_expect_closed(m->root, others, "administrator");
        test_assert_served(m->user, own, "127.0.0.1");
}

MACHINE_TEST("without polkit, only root and the service user may listen") {
        g_autoptr(TestClient) service = machine_client_new(m, "tcpserversocket");

        g_free(machine_run("systemctl", "mask", "--runtime", "--now", MACHINE_POLKIT));
        assert_denied(m->user, 0, SD_BUS_ERROR_ACCESS_DENIED);
        assert_denied(m->user, 80, SD_BUS_ERROR_ACCESS_DENIED);
        assert_listens(m->root, 80);
        assert_listens(service, 80);
        assert_listens(service, 0);

        g_free(machine_run("systemctl", "unmask", "--runtime", MACHINE_POLKIT));
        assert_listens(m->user, 0);
}

/* polkitd is stopped in its tracks, so that it has been asked and has not answered. */
static void stop_polkit(bool stop) {
        g_free(machine_run("systemctl", "kill", "--signal", stop ? "SIGSTOP" : "SIGCONT", MACHINE_POLKIT));
}

MACHINE_TEST("a polkit that hangs does not block other calls") {
        assert_listens(m->user, 0);
        stop_polkit(true);
        g_autoptr(TestCall) call = test_listen_start(m->user, 0, false);
        for (unsigned i = 0; i < 20; i++)
                assert_listens(m->root, 0);
        g_assert_false(test_call_is_done(call));
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
        stop_polkit(false);
        g_assert_null(test_call_error(call));
        g_assert_cmpuint(machine_count_listed(m->root), ==, 1);
}

MACHINE_TEST("a caller that leaves gets no listener") {
        uint16_t port = test_free_port();
        g_autoptr(TestClient) other = machine_client_new(m, MACHINE_WEB_USER);

        assert_listens(m->user, 0);
        stop_polkit(true);
        TestCall *call = test_listen_start(m->user, port, false);
        test_client_sync_service(m->root);
        g_clear_pointer(&call, test_call_free);
        g_clear_pointer(&m->user, test_client_free);
        stop_polkit(false);

        /* polkit answers in order, so that answer has come when this one does. */
        assert_listens(other, 0);
        g_assert_cmpuint(machine_count_listed(m->root), ==, 0);
        g_assert_false(test_is_listening(machine_service_pid(), port));
}

MACHINE_TEST("the pending requests of a user are limited") {
        g_autoptr(TestClient) web = machine_client_new(m, MACHINE_WEB_USER);
        g_autofree char *message = NULL;
        TestCall *calls[4];

        machine_configure("MaxPendingRequestsPerUser=4");
        assert_listens(m->user, 0);
        stop_polkit(true);
        for (size_t i = 0; i < ELEMENTS(calls); i++)
                calls[i] = test_listen_start(m->user, 0, false);
        test_assert_text(test_listen_fails(m->user, &message, 0, -1, NULL), SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_nonnull(strstr(message, "MaxPendingRequestsPerUser"));
        g_assert_nonnull(strstr(message, "4"));

        g_autoptr(TestCall) others = test_listen_start(web, 0, false);
        stop_polkit(false);
        g_assert_null(test_call_error(others));
        for (size_t i = 0; i < ELEMENTS(calls); i++) {
                g_assert_null(test_call_error(calls[i]));
                test_call_free(calls[i]);
        }
        assert_listens(m->user, 0);
}

static bool polkit_has_failed(void) {
        int status;

        g_free(machine_run_as(NULL, &status, "systemctl", "is-failed", MACHINE_POLKIT));
        return status == 0;
}

MACHINE_TEST("a crash of polkit denies the request") {
        assert_listens(m->user, 0);
        stop_polkit(true);
        g_autoptr(TestCall) call = test_listen_start(m->user, 0, false);
        test_client_sync_service(m->root);
        g_free(machine_run("systemctl", "kill", "--signal", "SIGKILL", MACHINE_POLKIT));
        g_assert_cmpstr(test_call_error(call), ==, SD_BUS_ERROR_ACCESS_DENIED);
        /* The bus starts it again. A request that arrives before systemd has seen the crash gets no answer.
         */
        test_wait_for(polkit_has_failed());
        assert_listens(m->user, 0);
}

MACHINE_TEST("the messages are translated") {
        unsigned n = 0;

        g_autofree char *policy = test_read_file(
                        "/usr/share/polkit-1/actions/org.example.TCPServerSocket.policy");
        for (const char *p = policy; (p = strstr(p, "<message xml:lang=\"de\">")); p++)
                n++;
        g_assert_cmpuint(n, ==, 3);
}
