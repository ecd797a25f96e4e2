/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tool runs real servers, which do not know the service, for a user without privileges. */

#include "machine/machine.h"

#define LOG "/run/test-serve.log"

/* The rule in tcpserversocketd(8). */
#define RULE                                                                                 \
        "polkit.addRule(function(action, subject) {"                                         \
        "  if (action.id == 'org.example.TCPServerSocket.listen-privileged' &&"              \
        "      action.lookup('port') == '80' && subject.isInGroup('" MACHINE_WEB_GROUP "'))" \
        "    return polkit.Result.YES;"                                                      \
        "});"

static TestChild *serve_as(const char *user, const char *const *argv) {
        machine_write(LOG, "");
        TestChild *child = machine_start_as(user, LOG, argv);
        test_wait_for(test_file_contains(LOG, "Listening on ") || test_child_has_exited(child));
        g_assert_false(test_child_has_exited(child));
        return child;
}
#define SERVE_AS(user, ...) serve_as(user, WORDS("tcpserversocketctl", __VA_ARGS__))

static void assert_curl(const char *url, const char *expected) {
        test_assert_text(machine_run("curl", "--silent", "--show-error", "--fail", "--max-time", "10", url),
                         expected);
}

static bool answers(const char *url, const char *expected) {
        int status;
        g_autofree char *got = machine_run_as(NULL, &status, "curl", "--silent", "--max-time", "10", url);

        return streq(got, expected);
}

static char *get_property(const char *unit, const char *property) {
        return machine_run("systemctl", "show", "--value", "--property", property, unit);
}

static bool property_is(const char *unit, const char *property, const char *expected) {
        g_autofree char *value = get_property(unit, property);

        return streq(value, expected);
}

static bool can_serve_files(void) {
        return test_require_program("busybox") && test_require_program("curl");
}

MACHINE_TEST("gunicorn on port 80") {
        int status;

        if (!test_require_program("gunicorn") || !test_require_program("curl") || !test_require_program("ab"))
                return;
        machine_set_rule(RULE);
        machine_write("/srv/app/app.py",
                      "import os\n"
                      "\n"
                      "def app(environ, start_response):\n"
                      "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
                      "    return [b'port %s, uid %d' % (environ['SERVER_PORT'].encode(), os.getuid())]\n");

        g_autoptr(TestChild) server = SERVE_AS(MACHINE_WEB_USER, "listen", "80", "--", "gunicorn", "--chdir",
                                               "/srv/app", "app:app");
        /* The socket exists before the server: an early connection waits. */
        {
                g_autofree char *expected = g_strdup_printf("port 80, uid %d",
                                                            (int) machine_uid(MACHINE_WEB_USER));

                assert_curl("http://127.0.0.1/", expected);
                assert_curl("http://[::1]/", expected);
        }
        g_autofree char *report = machine_run("ab", "-q", "-n", "500", "-c", "10", "http://127.0.0.1/");
        g_assert_nonnull(strstr(report, "Complete requests:      500\n"));
        g_assert_nonnull(strstr(report, "Failed requests:        0\n"));

        /* gunicorn ends well at SIGTERM, and the port is free. */
        test_child_signal(server, SIGTERM);
        g_assert_cmpint(test_child_wait(server), ==, 0);
        test_wait_for(!test_is_listening(getpid(), 80));
        g_assert_cmpint(test_connect_fails("127.0.0.1", 80), ==, ECONNREFUSED);

        g_autofree char *denied = machine_run_as(MACHINE_USER, &status, "tcpserversocketctl", "listen", "80",
                                                 "--", "true");
        g_assert_cmpint(status, ==, 1);
        g_assert_nonnull(strstr(denied, "80"));
}

/* ExecStart= is the only line that differs from https://docs.gunicorn.org/en/stable/deploy.html#systemd,
 * where a socket unit belongs to it, and which has other names of users and files. */
MACHINE_TEST("the unit of gunicorn's documentation") {
        if (!test_require_program("gunicorn") || !test_require_program("curl"))
                return;
        machine_set_rule(RULE);
        machine_write("/srv/app/app.py", "def app(environ, start_response):\n"
                                         "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
                                         "    return [b'first']\n");
        machine_write("/run/systemd/system/gunicorn.service",
                      "[Unit]\n"
                      "Description=gunicorn daemon\n"
                      "After=network.target\n"
                      "[Service]\n"
                      "Type=notify\n"
                      "NotifyAccess=main\n"
                      "User=" MACHINE_WEB_USER "\n"
                      "Group=" MACHINE_WEB_GROUP "\n"
                      "RuntimeDirectory=gunicorn\n"
                      "WorkingDirectory=/srv/app\n"
                      "ExecStart=tcpserversocketctl listen 80 -- gunicorn app:app\n"
                      "ExecReload=/bin/kill -s HUP $MAINPID\n"
                      "KillMode=mixed\n"
                      "TimeoutStopSec=5\n"
                      "PrivateTmp=true\n");
        g_free(machine_run("systemctl", "daemon-reload"));
        g_free(machine_run("systemctl", "start", "gunicorn"));
        assert_curl("http://[::1]/", "first");
        test_wait_for(property_is("gunicorn", "StatusText", "Gunicorn arbiter booted"));

        /* The worker that has the new code answers. */
        machine_write("/srv/app/app.py", "def app(environ, start_response):\n"
                                         "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
                                         "    return [b'second']\n");
        g_free(machine_run("systemctl", "reload", "gunicorn"));
        test_wait_for(answers("http://127.0.0.1/", "second"));

        g_free(machine_run("systemctl", "stop", "gunicorn"));
        g_assert_true(property_is("gunicorn", "Result", "success"));
        g_assert_cmpint(test_connect_fails("127.0.0.1", 80), ==, ECONNREFUSED);
}

/* The command does not know of the watchdog. */
MACHINE_TEST("the watchdog of a unit is fed") {
        g_free(machine_run("systemd-run", "--unit=watched", "--property=Type=notify",
                           "--property=WatchdogSec=300ms", "tcpserversocketctl", "listen", "8080", "--",
                           "sleep", "1000"));
        for (unsigned i = 0; i < 10; i++) {
                g_autofree char *last = get_property("watched", "WatchdogTimestampMonotonic");

                test_wait_for(!property_is("watched", "WatchdogTimestampMonotonic", last));
        }
        g_assert_true(property_is("watched", "ActiveState", "active"));
        g_free(machine_run("systemctl", "stop", "watched"));
}

MACHINE_TEST("the watchdog of a unit ends a command that hangs") {
        g_free(machine_run("systemd-run", "--unit=hangs", "--property=Type=notify",
                           "--property=WatchdogSec=300ms", "--property=WatchdogSignal=SIGKILL",
                           "tcpserversocketctl", "listen", "8080", "--", "sh", "-c",
                           "systemd-notify WATCHDOG=1; exec sleep 1000"));
        test_wait_for(property_is("hangs", "Result", "watchdog"));
        /* The unit has its result before the tool has been killed. */
        test_wait_for(!test_is_listening(getpid(), 8080));
        g_free(machine_run("systemctl", "reset-failed", "hangs"));
}

MACHINE_TEST("busybox httpd on port 80") {
        if (!can_serve_files())
                return;
        machine_set_rule(RULE);
        machine_write("/srv/www/hello", "hello");
        g_autoptr(TestChild) server = SERVE_AS(MACHINE_WEB_USER, "listen", "--inetd", "80", "--", "busybox",
                                               "httpd", "-i", "-h", "/srv/www");
        assert_curl("http://127.0.0.1/hello", "hello");
}

MACHINE_TEST("ssh works through a listener") {
        g_autofree char *home = g_strdup_printf("/home/%s", MACHINE_USER), *got = NULL;
        g_autofree char *make = g_strdup_printf(
                        "set -e; umask 077; cd; mkdir .ssh; "
                        "ssh-keygen -q -t ed25519 -N '' -f host; "
                        "ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519; "
                        "cp .ssh/id_ed25519.pub .ssh/authorized_keys; "
                        "echo \"[127.0.0.1]:2222 $(cat host.pub)\" >.ssh/known_hosts");
        g_autofree char *key = g_build_filename(home, "host", NULL);
        int status;

        if (!test_require_program("ssh") || !test_require_program("/usr/sbin/sshd"))
                return;
        g_free(machine_run("runuser", "-l", MACHINE_USER, "-c", make));
        g_autoptr(TestChild) server = SERVE_AS(MACHINE_USER, "listen", "--inetd", "127.0.0.1:2222", "--",
                                               "/usr/sbin/sshd", "-i", "-e", "-f", "/dev/null", "-h", key);
        for (unsigned i = 0; i < 2; i++) {
                g_autofree char *command = g_strdup_printf(
                                "exec ssh -p 2222 -o BatchMode=yes 127.0.0.1 'id -un; exit %u'", 40 + i);

                got = (g_free(got),
                       machine_run_as(NULL, &status, "runuser", "-l", MACHINE_USER, "-c", command));
                g_assert_cmpstr(got, ==, MACHINE_USER);
                g_assert_cmpint(status, ==, 40 + (int) i);
        }
        test_child_signal(server, SIGTERM);
        g_assert_cmpint(test_child_wait(server), ==, 128 + SIGTERM);
}

/* With AllowSocketDelivery=no. */
MACHINE_TEST("a server without socket activation works") {
        int status;

        if (!can_serve_files())
                return;
        machine_configure("AllowSocketDelivery=no");
        g_autofree char *refused = machine_run_as(MACHINE_USER, &status, "tcpserversocketctl", "listen",
                                                  "8080", "--", "true");
        g_assert_cmpint(status, ==, 1);
        g_assert_null(strchr(refused, '\n'));

        machine_write("/srv/www/hello", "hello");
        g_autoptr(TestChild) server = SERVE_AS(MACHINE_USER, "listen", "--inetd", "8080", "--", "busybox",
                                               "httpd", "-i", "-h", "/srv/www");
        assert_curl("http://127.0.0.1:8080/hello", "hello");
        g_autofree char *listeners = machine_run("tcpserversocketctl", "list", "--json=short");
        g_assert_nonnull(strstr(listeners, "\"channel\""));
}

/* A connection for which there can be no process now gets one later. */
MACHINE_TEST("no process is left behind") {
        /* The kernel counts the processes of a user in all machines. */
        g_autofree char *uid = g_strdup_printf("%d", g_random_int_range(100000, INT32_MAX));

        g_free(machine_run("useradd", "--uid", uid, "carol"));
        g_autoptr(TestChild) server = serve_as("carol", WORDS("prlimit", "--nproc=2", "tcpserversocketctl",
                                                              "listen", "--inetd", "8081", "--", "cat"));
        _cleanup_close_ int first = test_connect("127.0.0.1", 8081);

        test_send(first, "a", 1);
        test_expect(first, "a");
        _cleanup_close_ int second = test_connect("127.0.0.1", 8081);
        test_send(second, "b", 1);
        test_wait_for(test_file_contains(LOG, "Connections have to wait: Resource temporarily unavailable."));
        first = close_fd(first);
        test_expect(second, "b");
        test_child_signal(server, SIGTERM);
        g_assert_cmpint(test_child_wait(server), ==, 128 + SIGTERM);
}

MACHINE_TEST("a relay forwards connections") {
        if (!can_serve_files())
                return;
        machine_set_rule(RULE);
        machine_write("/srv/www/hello", "hello");
        g_autoptr(TestChild) server = SERVE_AS(MACHINE_USER, "listen", "--inetd", "127.0.0.1:8080", "--",
                                               "busybox", "httpd", "-i", "-h", "/srv/www");
        g_autoptr(TestChild) relay = SERVE_AS(MACHINE_WEB_USER, "relay", "http", "localhost:http-alt");
        assert_curl("http://127.0.0.1/hello", "hello");
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);
        test_show_on_failure(LOG);
        return test_run();
}
