/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service is started by calls and exits when idle, and no call is lost. */

#include <sys/stat.h>

#include "machine/machine.h"

#define MANAGER "org.example.TCPServerSocket", "/org/example/TCPServerSocket", "org.example.TCPServerSocket"

MACHINE_TEST("busctl starts the service") {
        g_assert_true(machine_unit_is("inactive"));
        test_assert_text(machine_run("busctl", "call", MANAGER, "Listen", "ia{sv}i", "0", "1", "name", "s",
                                     "script", "--", "-1", NULL),
                         "o \"/org/example/TCPServerSocket/listener/1\"");
        test_wait_for(machine_unit_is("active"));
        test_assert_text(machine_get_unit("Type"), "notify");
}

MACHINE_TEST("gdbus starts the service") {
        g_assert_true(machine_unit_is("inactive"));
        test_assert_text(machine_run("gdbus", "call", "--system", "--dest", "org.example.TCPServerSocket",
                                     "--object-path", "/org/example/TCPServerSocket", "--method",
                                     "org.example.TCPServerSocket.Listen", "0", "{'persistent': <true>}",
                                     "--", "-1", NULL),
                         "(objectpath '/org/example/TCPServerSocket/listener/1',)");
        test_wait_for(machine_unit_is("active"));
}

MACHINE_TEST("an ordinary user starts the service") {
        int status;

        g_autofree char *output = machine_run_as(MACHINE_USER, &status, "busctl", "get-property", MANAGER,
                                                 "Version", NULL);
        g_assert_cmpint(status, ==, 0);
        g_assert_true(g_str_has_prefix(output, "s \""));
        test_wait_for(machine_unit_is("active"));
}

/* The unit counts as started when the name exists. */
MACHINE_TEST("systemctl start returns when the service is ready") {
        g_free(machine_run("systemctl", "start", MACHINE_UNIT, NULL));
        g_free(machine_run("busctl", "--auto-start=no", "get-property", MANAGER, "Version", NULL));
}

MACHINE_TEST("the unit is static") {
        int status;

        test_assert_text(machine_run_as(NULL, &status, "systemctl", "is-enabled", MACHINE_UNIT, NULL),
                         "static");
}

/* Four times the idle timeout. */
static void let_pass(unsigned milliseconds) {
        uint64_t end = test_deadline(milliseconds);

        test_wait_for(test_now() >= end);
}

MACHINE_TEST("an idle service exits") {
        machine_configure("IdleTimeoutSec=50ms");
        test_client_sync_service(m->user);
        test_wait_for(test_bus_service_owner(m->bus));
        test_wait_for(!test_bus_service_owner(m->bus));
        test_wait_for(machine_unit_is("inactive"));

        /* Each thing that it still has to do keeps it: it would be gone after the first of them. */
        g_autofree char *listener = test_listen(m->user, 0, -1, NULL);
        let_pass(200);
        g_assert_cmpuint(test_bus_owner_changes(m->bus), ==, 3);
        test_listener_call(m->user, listener, "Close");
        test_wait_for(!test_bus_service_owner(m->bus));
        test_wait_for(machine_unit_is("inactive"));
}

MACHINE_TEST("the service exits after the last client") {
        machine_configure("IdleTimeoutSec=50ms");
        g_free(test_listen(m->user, 0, -1, NULL));
        g_free(test_listen(m->root, 0, -1, NULL));
        g_clear_pointer(&m->user, test_client_free);
        test_client_sync_service(m->root);
        g_clear_pointer(&m->root, test_client_free);
        test_wait_for(!test_bus_service_owner(m->bus));
        test_wait_for(machine_unit_is("inactive"));
}

MACHINE_TEST("the service stays for an undelivered connection") {
        machine_configure("IdleTimeoutSec=50ms");
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_ACKNOWLEDGE, NULL);
        test_assert_served(m->user, listener, "::1");
        let_pass(200);
        g_assert_cmpuint(test_bus_owner_changes(m->bus), ==, 1);

        test_acknowledge(m->user, listener, 1);
        test_listener_call(m->user, listener, "Close");
        test_wait_for(!test_bus_service_owner(m->bus));
}

/* Calls without a listener keep it running as well: it must not exit and start all the time. A call takes a
 * thousandth of the idle timeout here. */
MACHINE_TEST("the service stays while it is called") {
        uint64_t end;

        machine_configure("IdleTimeoutSec=1s");
        test_client_sync_service(m->user);
        for (end = test_deadline(3000); test_now() < end;)
                test_client_sync_service(m->user);
        g_assert_cmpuint(test_bus_owner_changes(m->bus), ==, 1);

        test_wait_for(!test_bus_service_owner(m->bus));
}

MACHINE_TEST("IdleTimeoutSec=0 keeps the service running") {
        machine_configure("IdleTimeoutSec=0");
        test_client_sync_service(m->user);
        let_pass(200);
        g_assert_nonnull(test_bus_service_owner(m->bus));
        g_assert_cmpuint(test_get_u64(m->user, TEST_MANAGER_PATH, "IdleTimeoutUSec"), ==, UINT64_MAX);
}

/* A call made at the very moment of the exit is answered, by the one that goes or by the one that comes. */

#define ROUNDS 50
#define CALLERS 20
#define IDLE_USEC 5000

typedef struct Caller {
        TestClient *client;
        sd_event_source *timer;
        TestCall *call;
} Caller;

static TestCall *start_get(TestClient *client) {
        sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH,
                                                   "org.freedesktop.DBus.Properties", "Get");

        must(sd_bus_message_append(message, "ss", TEST_MANAGER_INTERFACE, "Version"));
        return test_call_start(client, message);
}

static int on_moment(sd_event_source *source, uint64_t usec, void *userdata) {
        Caller *caller = userdata;

        caller->call = start_get(caller->client);
        return 0;
}

static void assert_answered(TestCall *call) {
        sd_bus_message *reply = test_call_wait(call);

        if (test_call_error(call))
                g_error("%s: %s", test_call_error(call), test_call_error_message(call));
        g_assert_true(sd_bus_message_is_method_call(reply, NULL, NULL) == 0);
}

/* The callers' moments of all rounds are spread from before the exit to after it, and those of one round are
 * next to each other, because a call before the exit delays it. One more client calls when the name is
 * released. */
MACHINE_TEST("no call is lost when the service exits") {
        Caller callers[CALLERS - 1] = {};
        unsigned n_calls = 0, n_exits;

        machine_configure("IdleTimeoutSec=5ms");
        for (size_t i = 0; i < ELEMENTS(callers); i++)
                callers[i].client = machine_client_new(m, NULL);

        test_client_sync_service(m->root);
        for (unsigned round = 0; round < ROUNDS; round++) {
                uint64_t now = test_now();

                for (size_t i = 0; i < ELEMENTS(callers); i++) {
                        /* -1.2 to +2.0 ms, in steps of about 3 µs over all rounds */
                        uint64_t offset = (round * ELEMENTS(callers) + i) * 3200 /
                                          (ELEMENTS(callers) * ROUNDS);

                        must(sd_event_add_time(test_event(), &callers[i].timer, CLOCK_MONOTONIC,
                                               now + IDLE_USEC - 1200 + offset, 1, on_moment, &callers[i]));
                }
                for (size_t i = 0; i < ELEMENTS(callers); i++) {
                        test_wait_for(callers[i].call);
                        assert_answered(callers[i].call);
                        g_clear_pointer(&callers[i].call, test_call_free);
                        callers[i].timer = sd_event_source_disable_unref(callers[i].timer);
                        n_calls++;
                }

                /* A lost Listen would leave a listener. */
                test_wait_for(!test_bus_service_owner(m->bus));
                g_autoptr(TestCall) call = test_listen_start(m->root, 0, false);
                const char *listener;

                assert_answered(call);
                g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &listener), >, 0);
                g_assert_cmpuint(test_get_port(m->root, listener), >, 0);
                test_listener_call(m->root, listener, "Close");
                n_calls++;
        }

        n_exits = test_bus_owner_changes(m->bus) / 2;
        g_test_message("%u calls around %u exits", n_calls, n_exits);
        g_assert_cmpuint(n_calls, ==, 1000);
        g_assert_cmpuint(n_exits, >=, ROUNDS);
        for (size_t i = 0; i < ELEMENTS(callers); i++)
                test_client_free(callers[i].client);
}

/* Messages to it wait in the bus. */
static pid_t pause_bus(void) {
        g_autofree char *pid = machine_run("pgrep", "-x",
                                           test_bus_is_broker() ? "dbus-broker" : "dbus-daemon", NULL);
        pid_t bus = (pid_t) g_ascii_strtoll(pid, NULL, 10);

        g_assert_no_errno(kill(bus, SIGSTOP));
        return bus;
}

static bool is_gone(TestClient *caller, pid_t pid) {
        test_client_sync_service(caller);
        return machine_process_is_gone(pid);
}

/* A service that was called at the last moment stays, and may not be asked to reload then. It exits as soon
 * as it can, even while it is called: the next process takes over. */
MACHINE_TEST("a call during the exit delays it only until it is answered") {
        g_autoptr(TestClient) later = NULL;
        pid_t bus, service = 0;

        machine_configure("IdleTimeoutSec=500ms");
        /* The bus may read the release of the name or the call first, also depending on which client was
         * connected first. */
        for (unsigned i = 0; i < 20 && service == 0; i++) {
                TestClient *caller = m->user;
                const char *path;

                test_client_sync_service(m->user);
                if (i % 2 == 1) {
                        g_clear_pointer(&later, test_client_free);
                        caller = later = machine_client_new(m, MACHINE_USER);
                }
                bus = pause_bus();
                g_autoptr(TestCall) call = test_listen_start(caller, 0, false);
                test_wait_for(machine_unit_is("deactivating"));
                g_assert_no_errno(kill(bus, SIGCONT));
                assert_answered(call);
                g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &path), >, 0);
                if (machine_unit_is("deactivating"))
                        service = machine_service_pid();
                test_listener_call(caller, path, "Close");
                if (service == 0)
                        test_wait_for(!test_bus_service_owner(m->bus));
        }
        g_assert_cmpint(service, >, 0);

        test_wait_for(is_gone(m->user, service));
        test_wait_for(!test_bus_service_owner(m->bus));
}

/* Before the namespace exists, the path leads to the machine's own bus. */
static bool is_other_bus(const char *path) {
        struct stat own, other;

        return stat("/run/dbus/system_bus_socket", &own) >= 0 && stat(path, &other) >= 0 &&
               own.st_dev != other.st_dev;
}

/* Without systemd, the bus itself starts the service, by its helper: the configuration is the system's own,
 * in a mount namespace where the socket is not there yet. */
MACHINE_TEST("a bus without systemd starts the service") {
        g_autofree char *log = g_build_filename(test_bus_directory(m->bus), "other-bus.log", NULL);

        if (test_bus_is_broker()) {
                g_test_skip("dbus-broker needs systemd");
                return;
        }

        machine_configure("IdleTimeoutSec=50ms");
        test_show_on_failure(log);
        g_autoptr(TestChild) child = machine_start_as(
                        NULL, log,
                        WORDS("unshare", "--mount", "sh", "-c",
                              "mount -t tmpfs -o mode=0755 tmpfs /run/dbus && "
                              "exec dbus-daemon --system --nofork --nopidfile --nosyslog"));
        g_autofree char *path = g_strdup_printf("/proc/%d/root/run/dbus/system_bus_socket", (int) child->pid);
        g_autofree char *address = g_strdup_printf("unix:path=%s", path);
        test_wait_for(is_other_bus(path) || test_child_has_exited(child));

        TestBus *bus = test_bus_new_for_address(address);
        g_autoptr(TestClient) client = test_client_new(bus, (uid_t) -1);
        /* The service has no CAP_CHOWN there. */
        test_assert_text(test_listen_fails(client, NULL, 0, -1, NULL), SD_BUS_ERROR_ACCESS_DENIED);
        g_assert_true(machine_unit_is("inactive"));

        g_clear_pointer(&client, test_client_free);
        test_wait_for(!test_bus_service_owner(bus));
        client = test_client_new(bus, (uid_t) -1);
        test_client_sync_service(client);
        g_clear_pointer(&client, test_client_free);
        test_bus_free(bus);
        test_forget(log);
}
