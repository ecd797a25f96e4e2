/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bus, with its own policy and the project's, allows only the necessary messages. */

#include "machine/machine.h"

/* Calls without arguments. Returns the error's name, or NULL. */
static char *call(TestClient *client,
                  const char *destination,
                  const char *path,
                  const char *interface,
                  const char *member) {
        sd_bus_message *message = NULL;

        must(sd_bus_message_new_method_call(test_client_bus(client), &message, destination, path, interface,
                                            member));
        g_autoptr(TestCall) waiting = test_call_start(client, message);
        return g_strdup(test_call_error(waiting));
}

static void assert_denied(TestClient *client,
                          const char *destination,
                          const char *path,
                          const char *interface,
                          const char *member) {
        g_autofree char *error = call(client, destination, path, interface, member);

        g_assert_cmpstr(error, ==, SD_BUS_ERROR_ACCESS_DENIED);
}

static char *request_name(TestClient *client) {
        sd_bus_message *message = NULL;

        must(sd_bus_message_new_method_call(test_client_bus(client), &message, "org.freedesktop.DBus",
                                            "/org/freedesktop/DBus", "org.freedesktop.DBus", "RequestName"));
        must(sd_bus_message_append(message, "su", TEST_BUS_NAME, 0));
        g_autoptr(TestCall) waiting = test_call_start(client, message);
        return g_strdup(test_call_error(waiting));
}

MACHINE_TEST("only the user of the service may own the name") {
        g_autoptr(TestClient) service = machine_client_new(m, "tcpserversocket");
        g_autofree char *user = request_name(m->user), *root = request_name(m->root), *own = NULL;

        g_assert_cmpstr(user, ==, SD_BUS_ERROR_ACCESS_DENIED);
        g_assert_cmpstr(root, ==, SD_BUS_ERROR_ACCESS_DENIED);
        own = request_name(service);
        g_assert_null(own);
}

MACHINE_TEST("all users may call the service") {
        g_autofree char *ping = call(m->user, TEST_BUS_NAME, "/", "org.freedesktop.DBus.Peer", "Ping");
        g_assert_null(ping);
        g_autofree char *introspect = call(m->user, TEST_BUS_NAME, TEST_MANAGER_PATH,
                                           "org.freedesktop.DBus.Introspectable", "Introspect");
        g_assert_null(introspect);
        g_autofree char *list = call(m->user, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                     "ListListeners");
        g_assert_null(list);
        test_assert_text(call(m->user, TEST_BUS_NAME, TEST_MANAGER_PATH "/listener/4711",
                              TEST_LISTENER_INTERFACE, "Close"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);
}

MACHINE_TEST("the policy allows no other calls") {
        test_client_sync_service(m->user);
        assert_denied(m->user, TEST_BUS_NAME, TEST_MANAGER_PATH, "org.example.Other", "Listen");
        assert_denied(m->user, TEST_BUS_NAME, TEST_MANAGER_PATH, "org.freedesktop.DBus.ObjectManager",
                      "GetManagedObjects");
        /* Nor does it open the bus for others to call each other. */
        assert_denied(m->user, test_client_name(m->root), "/", "org.freedesktop.DBus.Peer", "Ping");
        assert_denied(m->root, test_client_name(m->user), "/", TEST_MANAGER_INTERFACE, "Listen");
}

MACHINE_TEST("the service may only ping clients") {
        g_autoptr(TestClient) service = machine_client_new(m, "tcpserversocket");

        g_autofree char *ping = call(service, test_client_name(m->user), "/", "org.freedesktop.DBus.Peer",
                                     "Ping");
        g_assert_null(ping);
        assert_denied(service, test_client_name(m->user), "/", "org.freedesktop.DBus.Peer", "GetMachineId");
        assert_denied(service, test_client_name(m->user), "/", "org.freedesktop.DBus.Introspectable",
                      "Introspect");
}

static sd_bus_message *append_descriptor(sd_bus_message *m) {
        must(sd_bus_message_append(m, "h", STDIN_FILENO));
        return m;
}

MACHINE_TEST("no call with a descriptor reaches the service") {
        TestClient *const clients[] = { m->user, m->root };
        static const struct {
                const char *path, *interface, *member;
        } calls[] = {
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen" },
                { TEST_MANAGER_PATH "/listener/1", TEST_LISTENER_INTERFACE, "OpenLifeline" },
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Peer", "Ping" },
                { "/org/freedesktop/LogControl1", "org.freedesktop.DBus.Properties", "GetAll" },
        };

        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                /* The service runs, and has its name. */
                test_client_sync_service(clients[i]);
                for (size_t j = 0; j < ELEMENTS(calls); j++) {
                        sd_bus_message *message = test_message_new(clients[i], calls[j].path,
                                                                   calls[j].interface, calls[j].member);
                        g_autoptr(TestCall) waiting = test_call_start(clients[i], append_descriptor(message));

                        g_assert_cmpstr(test_call_error(waiting), ==, SD_BUS_ERROR_ACCESS_DENIED);
                }
        }
}

static int count_signal(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        unsigned *count = userdata;

        *count += sd_bus_message_is_signal(m, "com.example", "Signal") > 0;
        return 0;
}

/* As while it starts. */
MACHINE_TEST("the service receives no signal with a descriptor before it owns its name") {
        g_autoptr(TestClient) service = machine_client_new(m, "tcpserversocket");
        unsigned count = 0;

        must(sd_bus_add_filter(test_client_bus(service), NULL, count_signal, &count));
        for (unsigned with_descriptor = 2; with_descriptor-- > 0;) {
                g_autoptr(sd_bus_message) signal = NULL;

                must(sd_bus_message_new_signal(test_client_bus(m->user), &signal, "/", "com.example",
                                               "Signal"));
                if (with_descriptor)
                        append_descriptor(signal);
                must(sd_bus_send_to(test_client_bus(m->user), signal, test_client_name(service), NULL));
        }
        test_wait_for(count > 0);
        test_client_sync(m->user);
        test_client_sync(service);
        g_assert_cmpuint(count, ==, 1);
        g_clear_pointer(&service, test_client_free);
}

static void send_forged(TestClient *from, TestClient *to) {
        g_autoptr(sd_bus_message) signal = NULL;

        must(sd_bus_message_new_signal(test_client_bus(from), &signal, TEST_MANAGER_PATH,
                                       TEST_MANAGER_INTERFACE, "Closed"));
        must(sd_bus_message_append(signal, "os", TEST_MANAGER_PATH "/listener/1", "owner"));
        must(sd_bus_send_to(test_client_bus(from), signal, test_client_name(to), NULL));
        test_client_sync(from);
        test_client_sync(to);
}

MACHINE_TEST("users cannot forge signals") {
        g_autoptr(TestClient) service = machine_client_new(m, "tcpserversocket");

        test_client_match_everything(m->user);
        send_forged(m->root, m->user);
        g_assert_cmpuint(test_client_count_signals(m->user, NULL), ==, 0);
        /* Denied messages would have arrived. */
        send_forged(service, m->user);
        g_assert_cmpuint(test_client_count_signals(m->user, NULL), >, 0);
}
