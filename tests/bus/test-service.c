/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service as a program: arguments, exit status, output, notifications to its manager, and its log. */

#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bus/fixture.h"

#define NO_BUS "unix:path=/nonexistent/bus"

/* Runs it without a bus until it exits. */
typedef struct Run {
        char *out, *err;
        int status;
} Run;

static Run run(const char *first, const char *second) {
        const char *argv[] = { g_getenv("TEST_SERVICE"), first, second, NULL };
        g_auto(GStrv) environment = g_get_environ();
        g_autoptr(GError) error = NULL;
        Run r = {};

        environment = g_environ_setenv(environment, "DBUS_SYSTEM_BUS_ADDRESS", NO_BUS, true);
        environment = g_environ_setenv(environment, "DBUS_SESSION_BUS_ADDRESS", NO_BUS, true);
        environment = g_environ_setenv(environment, "LC_ALL", "C", true);
        (void) g_spawn_sync(NULL, (char **) argv, environment, G_SPAWN_DEFAULT, NULL, NULL, &r.out, &r.err,
                            &r.status, &error);
        g_assert_no_error(error);
        g_assert_true(WIFEXITED(r.status));
        r.status = WEXITSTATUS(r.status);
        return r;
}

static void run_done(Run *r) {
        g_free(r->out);
        g_free(r->err);
}

static void assert_contains(const char *text, const char *part) {
        if (!strstr(text, part))
                g_error("\"%s\" is not in: %s", part, text);
}

TEST_ALONE("--help prints the options") {
        static const char *const spellings[] = { "--help", "-h" };

        for (size_t i = 0; i < ELEMENTS(spellings); i++) {
                Run r = run(spellings[i], NULL);

                g_assert_cmpint(r.status, ==, 0);
                g_assert_cmpstr(r.err, ==, "");
                assert_contains(r.out, "tcpserversocketd [");
                assert_contains(r.out, "--help");
                assert_contains(r.out, "--version");
                assert_contains(r.out, "--user");
                run_done(&r);
        }
}

static void assert_usage_error(const char *first, const char *second, const char *said) {
        Run r = run(first, second);

        g_assert_cmpint(r.status, !=, 0);
        g_assert_cmpstr(r.out, ==, "");
        assert_contains(r.err, said);
        /* The missing bus is not the error. */
        g_assert_null(strstr(r.err, "Cannot connect"));
        run_done(&r);
}

TEST_ALONE("unknown arguments are refused") {
        assert_usage_error("--nonsense", NULL, "--nonsense");
        assert_usage_error("-x", NULL, "x");
        assert_usage_error("--user=me", NULL, "--user");
        assert_usage_error("word", NULL, "tcpserversocketd");
        assert_usage_error("--user", "word", "tcpserversocketd");
}

static void assert_misses(const char *first, const char *second, const char *bus) {
        Run r = run(first, second);

        g_assert_cmpint(r.status, !=, 0);
        g_assert_cmpstr(r.out, ==, "");
        assert_contains(r.err, bus);
        run_done(&r);
}

TEST_ALONE("a missing bus is reported") {
        assert_misses(NULL, NULL, "system bus");
        assert_misses("--system", NULL, "system bus");
        assert_misses("--user", NULL, "session bus");
        assert_misses("--user", "--system", "system bus");
}

/* The policy is for the user that the package has made. */
TEST_ALONE("a refused name is reported") {
        g_autoptr(TestBus) bus = test_bus_new_for_user(NULL, geteuid() == 0 ? "nobody" : "root");
        g_autoptr(TestService) service = test_service_spawn(bus, NULL);

        g_assert_cmpint(test_service_wait_exit(service), ==, 1);
        g_assert_true(test_service_has_logged(service, "Failed to request the name " TEST_BUS_NAME ": "));
}

TEST("--version and the property agree") {
        g_autofree char *version = test_get_string(f->client, TEST_MANAGER_PATH, "Version");
        Run r = run("--version", NULL);

        g_autofree char *expected = g_strdup_printf("tcpserversocketd %s\n", version);
        g_assert_cmpint(r.status, ==, 0);
        g_assert_cmpstr(r.out, ==, expected);
        g_assert_cmpstr(r.err, ==, "");
        run_done(&r);
}

TEST("normal use logs nothing, except that the service is not contained") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);

        test_assert_served(f->client, listener, "::1");
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        test_listener_call(f->client, listener, "Close");
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        test_assert_text(test_service_log(f->service),
                         "<4>Not contained, clients can use their sockets for other connections: "
                         "no guard is attached to its control group\n");
}

/* The rules of a session bus, which know nothing of the service. */
static const char session_xml[] = "<type>session</type>"
                                  "<policy context=\"default\">"
                                  "<allow send_destination=\"*\"/><allow receive_type=\"method_call\"/>"
                                  "<allow send_type=\"signal\"/><allow own=\"*\"/>"
                                  "</policy>";

static void set_up_session(Fixture *f, const void *data) {
        f->bus = test_bus_new_for_user(session_xml, "nobody");
        g_autofree char *address = g_strdup_printf("DBUS_SESSION_BUS_ADDRESS=%s", test_bus_address(f->bus));
        f->service = test_service_new(
                        f->bus,
                        &(TestServiceOptions) {
                                        .arguments = WORDS("--user"),
                                        .environment = WORDS(address, "DBUS_SYSTEM_BUS_ADDRESS=" NO_BUS),
                        });
        f->client = test_client_new(f->bus, (uid_t) -1);
}

TEST_OF("--user serves on the session bus", Fixture, f, set_up_session, fixture_tear_down, NULL) {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int peer = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        test_assert_connected(peer, accepted->socket);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        test_client_expect_closed(f->client, NULL, "shutdown");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        test_assert_connected(peer, accepted->socket);
}

/* ---- The service manager ---- */

static int new_notify_socket(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        g_assert_no_errno(fd);
        g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <,
                         sizeof(address.sun_path));
        g_assert_no_errno(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        return fd;
}

static void expect_notification(int fd, const char *text) {
        char received[64] = "";

        (void) test_wait_fd(fd, POLLIN);
        g_assert_no_errno((int) recv(fd, received, sizeof(received) - 1, 0));
        g_assert_cmpstr(received, ==, text);
}

TEST("the manager is notified of start and stop") {
        g_autofree char *path = g_build_filename(test_bus_directory(f->bus), "notify", NULL);
        g_autofree char *variable = g_strdup_printf("NOTIFY_SOCKET=%s", path);
        _cleanup_close_ int fd = new_notify_socket(path);

        fixture_restart_service(f, &(TestServiceOptions) {
                                                   .environment = WORDS(variable),
                                   });
        expect_notification(fd, "READY=1");
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        expect_notification(fd, "STOPPING=1");
}

static void set_low_limit(void *data) {
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &(struct rlimit) { .rlim_cur = 64, .rlim_max = 256 }));
}

static const FixtureOptions low_limit = { .service.setup = set_low_limit };

TEST_ON("the limit of descriptors is raised", &low_limit) {
        struct rlimit limit;

        if (g_getenv("TEST_SERVICE_WRAPPER")) {
                g_test_skip("the limits are the wrapper's");
                return;
        }
        g_assert_no_errno(prlimit(test_service_pid(f->service), RLIMIT_NOFILE, NULL, &limit));
        g_assert_cmpuint(limit.rlim_cur, ==, 256);
        g_assert_cmpuint(limit.rlim_max, ==, 256);
}

/* --- org.freedesktop.LogControl1 --- */

#define PATH "/org/freedesktop/LogControl1"
#define INTERFACE "org.freedesktop.LogControl1"
#define PROPERTIES "org.freedesktop.DBus.Properties"

static char *get(TestClient *client, const char *property) {
        g_autoptr(sd_bus_message)
                        reply = test_call(client, PATH, PROPERTIES, "Get", "ss", INTERFACE, property);
        const char *value;

        must(sd_bus_message_read(reply, "v", "s", &value));
        return g_strdup(value);
}

static void set(TestClient *client, const char *property, const char *value) {
        sd_bus_message_unref(
                        test_call(client, PATH, PROPERTIES, "Set", "ssv", INTERFACE, property, "s", value));
}

static void assert_is(TestClient *client, const char *property, const char *value) {
        test_assert_text(get(client, property), value);
}

static void assert_refuses(TestClient *client,
                           const char *property,
                           const char *value,
                           const char *error,
                           const char *part) {
        g_autofree char *message = NULL, *name = test_call_fails(client, &message, PATH, PROPERTIES, "Set",
                                                                 "ssv", INTERFACE, property, "s", value);

        g_assert_cmpstr(name, ==, error);
        if (part)
                g_assert_nonnull(strstr(message, part));
}

TEST_IF(test_require_root(), "the level can be changed") {
        set(f->client, "LogLevel", "debug");
        assert_is(f->client, "LogLevel", "debug");
        g_free(test_listen(f->client, 0, -1, NULL));
        test_wait_for(test_service_has_logged(f->service, "has set LogLevel to debug"));

        set(f->client, "LogLevel", "err");
        assert_is(f->client, "LogLevel", "err");
}

TEST_IF(test_require_root(), "the target can be changed") {
        static const char *const targets[] = { "console", "journal", "auto" };

        for (size_t i = 0; i < ELEMENTS(targets); i++) {
                set(f->client, "LogTarget", targets[i]);
                assert_is(f->client, "LogTarget", targets[i]);
        }
}

TEST_IF(test_require_root(), "wrong values and unknown properties are refused") {
        static const char invalid[] = "org.freedesktop.DBus.Error.InvalidArgs";
        g_autofree char *message = NULL;

        g_autofree char *level = get(f->client, "LogLevel");
        g_autofree char *target = get(f->client, "LogTarget");
        assert_refuses(f->client, "LogLevel", "loud", invalid, "\"loud\"");
        assert_refuses(f->client, "LogTarget", "nowhere", invalid, "\"nowhere\"");
        assert_refuses(f->client, "SyslogIdentifier", "me", "org.freedesktop.DBus.Error.PropertyReadOnly",
                       "SyslogIdentifier");
        assert_refuses(f->client, "LogColour", "red", "org.freedesktop.DBus.Error.UnknownProperty",
                       "unknown-property");
        test_assert_text(test_call_fails(f->client, &message, PATH, PROPERTIES, "Set", "ssv", INTERFACE,
                                         "LogLevel", "u", 7),
                         invalid);
        assert_is(f->client, "LogLevel", level);
        assert_is(f->client, "LogTarget", target);
        assert_is(f->client, "SyslogIdentifier", "tcpserversocketd");
}

static void assert_others_may_not(Fixture *f) {
        if (!test_require_root())
                return;

        g_autofree char *level = get(f->client, "LogLevel");
        g_autoptr(TestClient) other = test_client_new(f->bus, test_other_uid(0));
        assert_refuses(other, "LogLevel", "debug", "org.freedesktop.DBus.Error.AccessDenied", NULL);
        assert_is(f->client, "LogLevel", level);
}

TEST("only the administrator may use LogControl1") {
        assert_others_may_not(f);
        if (geteuid() != 0)
                return;

        g_autoptr(TestClient) other = test_client_new(f->bus, test_other_uid(0));
        test_assert_text(test_call_fails(other, NULL, PATH, PROPERTIES, "Get", "ss", INTERFACE, "LogLevel"),
                         SD_BUS_ERROR_ACCESS_DENIED);
}

/* The service does not choose the bus that it runs on. */
static const FixtureOptions careless_bus = {
        .bus_xml = "<policy context='mandatory'>"
                   "<allow send_destination='" TEST_BUS_NAME "' send_path='" PATH "'/>"
                   "</policy>",
};

TEST_ON("only the administrator may change properties on a careless bus, too", &careless_bus) {
        assert_others_may_not(f);
}
