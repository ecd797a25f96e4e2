/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "machine/restart.h"

#include "config.h"

/* While this is there, the next process does not start. */
#define GATE "/run/gate"
#define BINARY "/usr/libexec/tcpserversocketd"

/* As long as this one is. */
#define NEXT_VERSION "9.9.9"

static void begin_crash(Machine *m) {
        pid_t pid = machine_service_pid();

        g_assert_no_errno(kill(pid, SIGKILL));
        test_wait_for(machine_process_is_gone(pid));
}

static void begin_restart(Machine *m) {
        pid_t pid = machine_service_pid();

        g_free(machine_run("systemctl", "restart", "--no-block", MACHINE_UNIT));
        test_wait_for(machine_process_is_gone(pid));
}

static void begin_upgrade(Machine *m) {
        g_free(machine_run("sh", "-c",
                           "sed 's/" PROJECT_VERSION "/" NEXT_VERSION "/g' " BINARY " >" BINARY ".new && "
                           "chmod 0755 " BINARY ".new && mv " BINARY ".new " BINARY));
        begin_restart(m);
}

const Restart restart_crash = { "a crash", PROJECT_VERSION, begin_crash };
const Restart restart_by_systemctl = { "systemctl restart", PROJECT_VERSION, begin_restart };
const Restart restart_upgrade = { "an upgrade", NEXT_VERSION, begin_upgrade };

static void open_gate(void) {
        g_assert_no_errno(unlink(GATE));
}

void restart_prepare(void) {
        machine_configure_unit("ExecStartPre=+sh -c 'while [ -e " GATE " ]; do sleep 0.01; done'\n"
                               "NoExecPaths=\nExecPaths=\nLogLevelMax=debug");
        machine_write(GATE, "");
        open_gate();
}

void restart_begin(Machine *m, const Restart *how) {
        g_assert_no_errno(close(open(GATE, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
        how->begin(m);
}

void restart_finish(Machine *m) {
        unsigned changes = test_bus_owner_changes(m->bus);

        open_gate();
        test_wait_for(test_bus_owner_changes(m->bus) > changes && test_bus_service_owner(m->bus));
}

void restart_assert_version(Machine *m, const Restart *how) {
        g_autoptr(sd_bus_message)
                        reply = test_call(m->user, TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties",
                                          "Get", "ss", TEST_MANAGER_INTERFACE, "Version");
        const char *value;

        must(sd_bus_message_read(reply, "v", "s", &value));
        g_assert_cmpstr(value, ==, how->version);
}

void restart_assert_pulled(TestClient *client, const char *listener, int peer, uint64_t serial) {
        g_autoptr(GPtrArray) batch = test_accept(client, listener, 1, 10000);

        g_assert_cmpuint(batch->len, ==, 1);
        TestAccepted *accepted = batch->pdata[0];
        g_assert_cmpuint(accepted->serial, ==, serial);
        test_assert_connected(peer, accepted->socket);
}

void restart_assert_in_channel(int channel, int peer, uint64_t serial) {
        uint64_t received;

        _cleanup_close_ int socket = test_channel_receive(channel, &received);
        must(socket);
        g_assert_cmpuint(received, ==, serial);
        test_assert_connected(peer, socket);
}

void restart_assert_accepted(int listening, int peer) {
        g_assert_cmpuint(test_wait_fd(listening, POLLIN), ==, POLLIN);
        _cleanup_close_ int socket = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(socket);
        test_assert_connected(peer, socket);
}

static char *print_string(TestClient *client, const char *listener, const char *property) {
        g_autofree char *value = test_get_string(client, listener, property);

        return g_strdup_printf("%s=%s\n", property, value);
}

Seen seen_look(TestClient *client, const char *listener) {
        static const char *const strings[] = { "LocalAddress", "Interface", "BinaryType",
                                               "Delivery",     "Name",      "Owner" };
        static const char *const numbers[] = { "LocalPort", "Backlog",   "OwnerUID", "OwnerPID",
                                               "Accepted",  "Delivered", "Refused",  "Lost" };
        static const char *const booleans[] = { "Persistent", "Paused" };
        GString *text = g_string_new(NULL);

        for (size_t i = 0; i < ELEMENTS(strings); i++) {
                g_autofree char *line = print_string(client, listener, strings[i]);

                g_string_append(text, line);
        }
        for (size_t i = 0; i < ELEMENTS(numbers); i++)
                g_string_append_printf(text, "%s=%" G_GUINT64_FORMAT "\n", numbers[i],
                                       test_get_u64(client, listener, numbers[i]));
        for (size_t i = 0; i < ELEMENTS(booleans); i++)
                g_string_append_printf(text, "%s=%d\n", booleans[i],
                                       test_get_bool(client, listener, booleans[i]));
        return (Seen) { .text = g_string_free(text, false) };
}

void seen_assert_same(const Seen *before, TestClient *client, const char *listener) {
        g_auto(Seen) now = seen_look(client, listener);

        g_assert_cmpstr(now.text, ==, before->text);
}

void seen_clear(Seen *seen) {
        g_free(seen->text);
}
