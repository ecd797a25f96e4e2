/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/message-bus.h"

#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"
#include "bus/process.h"

struct TestBus {
        char *directory;
        char *address;
        char *log;
        TestChild *child; /* NULL: not started by the test */

        sd_bus *observer;
        char *owner;
        unsigned owner_changes;
        bool observing;
        bool killed;
};

bool test_bus_is_broker(void) {
        return g_strcmp0(g_getenv("TEST_BUS"), "broker") == 0;
}

const char *test_bus_unavailable(void) {
        g_autofree char *daemon = g_find_program_in_path("dbus-daemon");
        g_autofree char *broker = g_find_program_in_path("dbus-broker-launch");

        if (!test_bus_is_broker())
                return daemon ? NULL : "dbus-daemon is not installed";
        if (!broker)
                return "dbus-broker-launch is not installed";
        if (geteuid() != 0)
                return "dbus-broker-launch needs root";
        /* It logs to the journal and asks PID 1 about activatable units, or does not start. */
        if (access("/run/systemd/journal/socket", F_OK) < 0 || access("/run/systemd/private", F_OK) < 0)
                return "dbus-broker-launch needs a running systemd; use tests/machine/run-in-machine";
        return NULL;
}

static void write_file(const char *path, const char *content) {
        g_autoptr(GError) error = NULL;

        (void) g_file_set_contents(path, content, -1, &error);
        g_assert_no_error(error);
}

/* The tests cover the project's own policy, which is used as it is installed. */
static char *write_policy(TestBus *bus, const char *service_user) {
        const char *installed = g_getenv("TEST_POLICY_FILE"), *template = g_getenv("TEST_POLICY_TEMPLATE");

        if (installed)
                return g_strdup_printf("<include>%s</include>", installed);
        if (!template)
                return g_strdup("");

        g_autofree char *content = test_read_file(template);

        g_auto(GStrv) parts = g_strsplit(content, "@SERVICE_USER@", -1);
        g_autofree char *policy = g_strjoinv(service_user, parts);

        g_autofree char *path = g_build_filename(bus->directory, "policy.conf", NULL);
        write_file(path, policy);
        return g_strdup_printf("<include>%s</include>", path);
}

/* Clients of tests run as the service's user, which the project's policy lets receive no signals with
 * descriptors but the service's own. */
#define TEST_SIGNALS "<policy context=\"mandatory\"><allow receive_interface=\"test.Test\"/></policy>"

static char *write_config(TestBus *bus, const char *extra_xml, const char *service_user) {
        g_autofree char *policy = write_policy(bus, service_user);
        g_autofree char *config = g_strdup_printf("<busconfig>\n"
                                                  "  <include>" TEST_BUS_CONFIGURATION "</include>\n"
                                                  "  <listen>unix:path=%s/bus</listen>\n"
                                                  "  %s\n"
                                                  "  " TEST_SIGNALS "\n"
                                                  "  %s\n"
                                                  "</busconfig>\n",
                                                  bus->directory, policy, extra_xml ?: "");
        char *path = g_build_filename(bus->directory, "bus.conf", NULL);

        write_file(path, config);
        return path;
}

static int listen_unix(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        g_assert_no_errno(fd);
        g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                         sizeof(address.sun_path));
        g_assert_no_errno(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        g_assert_no_errno(chmod(path, 0666));
        g_assert_no_errno(listen(fd, SOMAXCONN));
        return fd;
}

/* dbus-broker-launch only takes its socket as socket activation passes it. Clients
 * need not wait for it: the kernel queues their connections. */
static void start_broker(TestBus *bus, const char *config) {
        g_autofree char *path = g_build_filename(bus->directory, "bus", NULL);
        _cleanup_close_ int fd = listen_unix(path);
        TestSpawn options = { .log = bus->log, .listen_fd = fd };

        bus->child = test_child_new(WORDS("dbus-broker-launch", "--scope", "system", "--config-file", config),
                                    &options);
}

static void start_daemon(TestBus *bus, const char *config) {
        g_autofree char *argument = g_strdup_printf("--config-file=%s", config);
        TestSpawn options = { .log = bus->log };

        bus->child = test_child_new(WORDS("dbus-daemon", argument, "--nofork", "--nopidfile", "--nosyslog",
                                          "--print-address"),
                                    &options);
        /* It prints its address, to its log here, when it can be connected to. */
        test_wait_for(test_child_has_exited(bus->child) || test_file_contains(bus->log, "unix:path="));
}

static int on_name_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TestBus *bus = userdata;
        const char *name, *old_owner, *new_owner;

        must(sd_bus_message_read(message, "sss", &name, &old_owner, &new_owner));
        g_clear_pointer(&bus->owner, g_free);
        if (new_owner[0] != '\0')
                bus->owner = g_strdup(new_owner);
        bus->owner_changes++;
        return 0;
}

static int on_match_installed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        TestBus *bus = userdata;

        g_assert_false(sd_bus_message_is_method_error(message, NULL));
        bus->observing = true;
        return 0;
}

static void start_observer(TestBus *bus) {
        static const char match[] = "type='signal',sender='org.freedesktop.DBus',"
                                    "member='NameOwnerChanged',arg0='" TEST_BUS_NAME "'";

        must(sd_bus_new(&bus->observer));
        must(sd_bus_set_address(bus->observer, bus->address));
        must(sd_bus_set_bus_client(bus->observer, true));
        must(sd_bus_start(bus->observer));
        must(sd_bus_attach_event(bus->observer, test_event(), SD_EVENT_PRIORITY_NORMAL));
        must(sd_bus_add_match_async(bus->observer, NULL, match, on_name_owner_changed, on_match_installed,
                                    bus));
        test_wait_for(bus->observing || (bus->child && test_child_has_exited(bus->child)));
        g_assert_true(bus->observing);
}

TestBus *test_bus_new_for_user(const char *extra_xml, const char *service_user) {
        TestBus *bus = g_new0(TestBus, 1);

        bus->directory = test_make_directory("bus");
        bus->address = g_strdup_printf("unix:path=%s/bus", bus->directory);
        bus->log = g_build_filename(bus->directory, "bus.log", NULL);
        test_show_on_failure(bus->log);

        g_autofree char *config = write_config(bus, extra_xml, service_user);
        if (test_bus_is_broker())
                start_broker(bus, config);
        else
                start_daemon(bus, config);
        start_observer(bus);
        return bus;
}

TestBus *test_bus_new(const char *extra_xml) {
        const struct passwd *user = getpwuid(geteuid());

        g_assert_nonnull(user);
        return test_bus_new_for_user(extra_xml, user->pw_name);
}

TestBus *test_bus_new_for_address(const char *address) {
        TestBus *bus = g_new0(TestBus, 1);

        bus->directory = test_make_directory("bus");
        bus->address = g_strdup(address);
        start_observer(bus);
        return bus;
}

TestBus *test_bus_new_system(void) {
        return test_bus_new_for_address("unix:path=/run/dbus/system_bus_socket");
}

void test_bus_free(TestBus *bus) {
        if (!bus)
                return;

        sd_bus_close_unref(bus->observer);
        if (bus->child && !bus->killed) {
                /* dbus-broker ends with its launcher; both count as well-behaved only when asked to go. */
                g_assert_false(test_child_has_exited(bus->child));
                test_child_signal(bus->child, SIGTERM);
                (void) test_child_wait(bus->child);
        }
        test_child_free(bus->child);
        if (bus->log)
                test_forget(bus->log);
        g_free(bus->directory);
        g_free(bus->address);
        g_free(bus->log);
        g_free(bus->owner);
        g_free(bus);
}

const char *test_bus_address(TestBus *bus) {
        return bus->address;
}

const char *test_bus_directory(TestBus *bus) {
        return bus->directory;
}

const char *test_bus_service_owner(TestBus *bus) {
        return bus->owner;
}

unsigned test_bus_owner_changes(TestBus *bus) {
        return bus->owner_changes;
}

pid_t test_bus_pid(TestBus *bus) {
        return bus->child->pid;
}

void test_bus_kill(TestBus *bus) {
        bus->killed = true;
        test_child_signal(bus->child, SIGKILL);
        (void) test_child_wait(bus->child);
}
