/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The application in examples/flatpak, with the real flatpak and xdg-dbus-proxy, in the session of a desktop.
 * It has no network. Nothing is downloaded, see install-flatpak. Its programs run in other sandboxes, too. */

#include <sys/stat.h>

#include "machine/session.h"

#define APPLICATION "org.example.Hello"
#define OTHER_APPLICATION "org.example.Other"

#define LOG "/run/test-flatpak.log"
#define ATTACK_LOG "/run/test-flatpak-attack.log"
#define INSTALL_LOG "/run/test-flatpak-install.log"

/* Of the application. */
static const char *const programs[] = { "hello.py", "hello.js" };

static MachineSession *session;

/* ------------------------------------------------------------------------------------ The application */

static TestChild *start_in_session(const char *log, const char *const *argv) {
        return machine_start_in(MACHINE_USER, machine_session_pid(session), log, argv);
}

static int run_in_session(const char *log, const char *const *argv) {
        g_autoptr(TestChild) child = start_in_session(log, argv);

        return test_child_wait(child);
}

/* In the home directory, which stays for all tests. */
static void install(void) {
        g_autofree char *script = g_build_filename(g_getenv("TEST_SOURCE_ROOT"),
                                                   "tests/machine/install-flatpak", NULL);

        test_show_on_failure(INSTALL_LOG);
        g_autoptr(TestChild) child = start_in_session(
                        INSTALL_LOG, WORDS("sh", "-c", "cd && mkdir build && cd build && exec \"$@\"", "sh",
                                           script, g_getenv("TEST_SOURCE_ROOT")));
        test_wait_for_within(10 * TEST_DEADLINE_MS, test_child_has_exited(child));
        g_assert_cmpint(test_child_wait(child), ==, 0);
        test_forget(INSTALL_LOG);
}

static bool require_application(void) {
        static const char *const needed[] = { "apt-cache", "eu-elfcompress", "flatpak", "flatpak-builder",
                                              "bwrap",     "g-ir-scanner",   "gjs",     "jq",
                                              "meson" };
        static bool is_installed;

        for (size_t i = 0; i < ELEMENTS(needed); i++)
                if (!test_require_program(needed[i]))
                        return false;
        if (!machine_require_logind())
                return false;
        machine_start_logind();
        session = machine_session_new(MACHINE_USER, MACHINE_SESSION_SEAT);
        if (run_in_session("/dev/null", WORDS("bwrap", "--ro-bind", "/", "/", "--unshare-all", "true")) !=
            0) {
                g_test_skip("ordinary users cannot create user namespaces");
                return false;
        }
        if (!is_installed)
                install();
        is_installed = true;
        return true;
}

static void tear_down(Machine *m, const void *data) {
        g_clear_pointer(&session, machine_session_free);
        machine_tear_down(m, data);
}

#define FLATPAK_TEST(sentence) \
        TEST_OF_IF(require_application(), sentence, Machine, m, machine_set_up, tear_down, NULL)

/* Runs one of its programs. */
static TestChild *start(const char *application, const char *program) {
        g_autofree char *command = g_strdup_printf("--command=%s", program);

        machine_write(LOG, "");
        return start_in_session(LOG, WORDS("flatpak", "run", command, application, "8080"));
}

static void wait_until_ready(TestChild *child) {
        test_wait_for(test_file_contains(LOG, "Listening on port 8080\n") || test_child_has_exited(child));
        g_assert_false(test_child_has_exited(child));
}

/* It has said why it exits. */
static void assert_exits(TestChild *child, int status, const char *text) {
        g_assert_cmpint(test_child_wait(child), ==, status);
        g_autofree char *log = test_read_file(LOG);
        if (!strstr(log, text))
                g_error("the application does not say \"%s\", but: %s", text, log);
}

static void stop(TestChild *child, const char *application) {
        g_assert_cmpint(run_in_session("/dev/null", WORDS("flatpak", "kill", application)), ==, 0);
        (void) test_child_wait(child);
}

FLATPAK_TEST("its only permission is to call the service") {
        g_assert_cmpint(run_in_session(LOG, WORDS("flatpak", "info", "--show-permissions", APPLICATION)), ==,
                        0);
        test_assert_text(g_strstrip(test_read_file(LOG)), "[System Bus Policy]\n" TEST_BUS_NAME "=talk");
}

/* ----------------------------------------------------------------------------------------- The service */

static char *receive_all(int fd) {
        GString *text = g_string_new(NULL);
        char buffer[512];
        ssize_t n;

        do {
                (void) test_wait_fd(fd, POLLIN);
                n = read(fd, buffer, sizeof(buffer));
                g_assert_no_errno((int) n);
                g_string_append_len(text, buffer, n);
        } while (n > 0);
        return g_string_free(text, FALSE);
}

static void assert_answers(int fd, const char *greeting) {
        static const char request[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        _cleanup_close_ int peer = fd;

        test_send(peer, request, strlen(request));
        g_autofree char *reply = receive_all(peer);
        g_assert_true(g_str_has_prefix(reply, "HTTP/1.0 200 OK\r\n"));
        g_assert_true(g_str_has_suffix(reply, greeting));
}

/* The default of a desktop: no rule, and no question. */
FLATPAK_TEST("it serves HTTP to the host and to another network") {
        machine_use_installed_rules();
        if (!test_add_neighbour()) {
                g_test_skip("needs ip(8)");
                return;
        }
        for (size_t i = 0; i < ELEMENTS(programs); i++) {
                g_autoptr(TestChild) child = start(APPLICATION, programs[i]);

                wait_until_ready(child);
                uint64_t since = test_now();
                for (unsigned n = 0; n < 500; n++) {
                        assert_answers(test_connect("127.0.0.1", 8080), "Hello, 127.0.0.1\n");
                        assert_answers(test_connect_from_neighbour(TEST_IPV6, 8080),
                                       "Hello, " TEST_NEIGHBOUR_IPV6 "\n");
                }
                g_test_message("%s: 1000 connections in %u ms", programs[i],
                               (unsigned) ((test_now() - since) / 1000));
                stop(child, APPLICATION);
                test_wait_for(machine_count_listed(m->root) == 0);
        }
}

FLATPAK_TEST("list shows the name of the application") {
        g_autoptr(TestChild) child = start(APPLICATION, "hello.py");

        wait_until_ready(child);
        g_autofree char *list = machine_run("tcpserversocketctl", "list");
        g_test_message("%s", list);
        g_assert_nonnull(strstr(list, " " APPLICATION " "));
        test_assert_text(machine_run("sh", "-c",
                                     "tcpserversocketctl show 1 --json=short | jq -r .[].application"),
                         APPLICATION);
        stop(child, APPLICATION);
}

FLATPAK_TEST("it says that an administrator closes its port") {
        for (size_t i = 0; i < ELEMENTS(programs); i++) {
                g_autoptr(TestChild) child = start(APPLICATION, programs[i]);
                _cleanup_close_ int idle = -EBADF;

                wait_until_ready(child);
                idle = test_connect("127.0.0.1", 8080);
                g_free(machine_run("sh", "-c",
                                   "tcpserversocketctl close $(tcpserversocketctl list --json=short | "
                                   "jq -r .[].listener)"));
                assert_exits(child, 0, "administrator");
                g_assert_cmpint(test_connect_fails("127.0.0.1", 8080), ==, ECONNREFUSED);
        }
}

/* ------------------------------------------------------------------------------------------- Forbidden */

static void assert_fails(const char *program, const char *text) {
        g_autoptr(TestChild) child = start(APPLICATION, program);

        assert_exits(child, 1, text);
}

/* The application runs, and may not listen. */
static void assert_is_forbidden(void) {
        for (size_t i = 0; i < ELEMENTS(programs); i++)
                assert_fails(programs[i], "Not authorized to use port 8080");
}

static void assert_may_listen(const char *application) {
        g_autoptr(TestChild) child = start(application, "hello.py");

        wait_until_ready(child);
        stop(child, application);
}

/* The example in tcpserversocketd(8). */
FLATPAK_TEST("a rule forbids one application") {
        machine_use_installed_rules();
        machine_set_rule("polkit.addRule(function(action, subject) {\n"
                         "    if (action.id.indexOf('org.example.TCPServerSocket.listen') == 0 &&\n"
                         "        polkit.spawn(['cat', '/proc/' + subject.pid + '/cgroup'])\n"
                         "            .indexOf('/app-flatpak-" APPLICATION "-') >= 0)\n"
                         "        return polkit.Result.NO;\n"
                         "});\n");
        assert_is_forbidden();
        assert_may_listen(OTHER_APPLICATION);
}

FLATPAK_TEST("a rule forbids one user") {
        machine_set_rule("polkit.addRule(function(action, subject) {\n"
                         "    if (action.id == 'org.example.TCPServerSocket.listen' &&\n"
                         "        subject.user == '" MACHINE_USER "')\n"
                         "        return polkit.Result.NO;\n"
                         "});\n");
        assert_is_forbidden();
}

FLATPAK_TEST("an override takes the permission away") {
        g_assert_cmpint(run_in_session(LOG, WORDS("flatpak", "override", "--user",
                                                  "--system-no-talk-name=" TEST_BUS_NAME, APPLICATION)),
                        ==, 0);
        for (size_t i = 0; i < ELEMENTS(programs); i++)
                assert_fails(programs[i], "The program has no network");
        assert_may_listen(OTHER_APPLICATION);
        machine_write(LOG, "");
        g_autoptr(TestChild) child = start_in_session(
                        LOG,
                        WORDS("flatpak", "run", "--system-talk-name=" TEST_BUS_NAME, APPLICATION, "8080"));
        wait_until_ready(child);
        stop(child, APPLICATION);
        g_assert_cmpint(run_in_session(LOG, WORDS("flatpak", "override", "--user", "--reset", APPLICATION)),
                        ==, 0);
}

/* ------------------------------------------------------------------------------------------ Deliveries */

static uint16_t wait_for_port(TestChild *child) {
        test_wait_for(test_file_contains(LOG, "\n") || test_child_has_exited(child));
        g_assert_false(test_child_has_exited(child));
        g_autofree char *log = test_read_file(LOG);
        return (uint16_t) strtoul(log, NULL, 10);
}

/* The programs of examples/clients. */
FLATPAK_TEST("all deliveries pass xdg-dbus-proxy") {
        static const char *const deliveries[] = { "signal", "call", "pull", "socket" };
        const char *source = g_getenv("TEST_SOURCE_ROOT");
        g_autofree char *files = g_strdup_printf("--filesystem=%s:ro", source);

        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                g_autofree char *program = g_strdup_printf("%s/examples/clients/pygobject/serve-%s.py",
                                                           source, deliveries[i]);

                machine_write(LOG, "");
                g_autoptr(TestChild) child = start_in_session(
                                LOG,
                                WORDS("flatpak", "run", files, "--command=python3", APPLICATION, program));
                uint16_t port = wait_for_port(child);
                for (unsigned n = 0; n < 100; n++) {
                        _cleanup_close_ int peer = test_connect("::1", port);
                        test_expect(peer, "!");
                }
                stop(child, APPLICATION);
        }
}

/* -------------------------------------------------------------------------------------- Other sandboxes */

/* A directory with the files of the runtime and of the application. */
static char *make_root(void) {
        static const char script[] =
                        "set -e\n"
                        "root=$(mktemp -d); chmod 755 $root; cd $root; data=~/.local/share/flatpak\n"
                        "cp -a $data/runtime/org.example.Platform/*/1/active/files usr\n"
                        "cp -a $data/app/" APPLICATION "/current/active/files app\n"
                        "ln -s usr/bin usr/lib usr/lib64 .\n"
                        "mkdir -p dev etc proc run/dbus sys tmp var; ln -s ../run var; : >run/dbus/system_bus_socket\n"
                        "echo $root\n";

        machine_write(LOG, "");
        g_assert_cmpint(run_in_session(LOG, WORDS("sh", "-c", script)), ==, 0);
        return g_strchomp(test_read_file(LOG));
}

static void assert_serves(TestChild *child) {
        wait_until_ready(child);
        assert_answers(test_connect("127.0.0.1", 8080), "Hello, 127.0.0.1\n");
}

static bool proxy_is_newer_than(const char *version) {
        g_autofree char *text = machine_run("xdg-dbus-proxy", "--version");

        return strverscmp(strrchr(text, ' ') + 1, version) > 0;
}

/* Other programs on the system bus are out of reach. */
FLATPAK_TEST("a program in bubblewrap with xdg-dbus-proxy serves") {
        static const char proxy_socket[] = "/tmp/test-flatpak-bus";
        int status;
        g_autofree char *root = make_root();
        g_autoptr(TestChild) proxy = start_in_session(
                        "/dev/null", WORDS("xdg-dbus-proxy", "unix:path=/run/dbus/system_bus_socket",
                                           proxy_socket, "--filter", "--talk=" TEST_BUS_NAME));

        test_wait_for(access(proxy_socket, F_OK) == 0);
        machine_write(LOG, "");
        g_autoptr(TestChild) child = start_in_session(
                        LOG, WORDS("bwrap", "--ro-bind", root, "/", "--ro-bind", proxy_socket,
                                   "/run/dbus/system_bus_socket", "--dev", "/dev", "--proc", "/proc",
                                   "--setenv", "LD_LIBRARY_PATH", "/app/lib", "--setenv", "GI_TYPELIB_PATH",
                                   "/app/lib/girepository-1.0", "--unshare-all", "--die-with-parent",
                                   "/app/bin/hello.py", "8080"));
        assert_serves(child);

        /* The tool uses sd-bus. */
        g_free(machine_run_as(MACHINE_USER, &status, "env",
                              "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/tmp/test-flatpak-bus", "timeout", "10",
                              "tcpserversocketctl", "list"));
        g_assert_true((status == 0) == proxy_is_newer_than("0.1.5"));
}

static void assert_unit_serves(Machine *m, const char *lines) {
        g_autofree char *unit = g_strdup_printf("[Service]\n"
                                                "User=" MACHINE_USER "\n"
                                                "PrivateNetwork=yes\n"
                                                "RestrictAddressFamilies=AF_UNIX\n"
                                                "%s",
                                                lines);

        machine_write("/run/systemd/system/hello.service", unit);
        g_free(machine_run("systemctl", "daemon-reload"));
        g_free(machine_run("systemctl", "start", "hello"));
        test_wait_for(machine_count_listed(m->root) == 1);
        assert_answers(test_connect("127.0.0.1", 8080), "Hello, 127.0.0.1\n");
        g_free(machine_run("systemctl", "stop", "hello"));
        test_wait_for(machine_count_listed(m->root) == 0);
}

FLATPAK_TEST("a unit without a network serves") {
        g_autofree char *lines = g_strdup_printf("ExecStart=%s/examples/flatpak/hello.py 8080\n",
                                                 g_getenv("TEST_SOURCE_ROOT"));

        assert_unit_serves(m, lines);
}

FLATPAK_TEST("a unit with another root serves") {
        g_autofree char *root = make_root();
        g_autofree char *lines = g_strdup_printf(
                        "ExecStart=/app/bin/hello.py 8080\n"
                        "Environment=LD_LIBRARY_PATH=/app/lib GI_TYPELIB_PATH=/app/lib/girepository-1.0\n"
                        "RootDirectory=%s\n"
                        "BindReadOnlyPaths=/run/dbus\n",
                        root);

        assert_unit_serves(m, lines);
}

/* Without keys and a limit of processes, because this machine does not permit them. */
#define PODMAN(...)                                                                                \
        WORDS("podman", "run", "--rm", "--name=hello", "--pids-limit=0", "--network=none",         \
              "--volume=/run/dbus/system_bus_socket:/run/dbus/system_bus_socket",                  \
              "--env=LD_LIBRARY_PATH=/app/lib", "--env=GI_TYPELIB_PATH=/app/lib/girepository-1.0", \
              __VA_ARGS__)

#define DBUS_SEND                                                                             \
        "dbus-send", "--system", "--print-reply", "--dest=" TEST_BUS_NAME, TEST_MANAGER_PATH, \
                        TEST_MANAGER_INTERFACE ".ListListeners"

static bool require_podman(void) {
        if (!test_require_program("podman"))
                return false;
        machine_write("/etc/containers/containers.conf", "[containers]\nkeyring=false\n");
        machine_write(LOG, "");
        return true;
}

static void assert_container_serves(const char *user_namespace, const char *root) {
        g_autoptr(TestChild) child = start_in_session(
                        LOG, PODMAN(user_namespace, "--rootfs", root, "/app/bin/hello.py", "8080"));

        assert_serves(child);
        g_assert_cmpint(run_in_session("/dev/null", WORDS("podman", "stop", "--time=0", "hello")), ==, 0);
        (void) test_child_wait(child);
}

FLATPAK_TEST("a container of podman without a network serves") {
        g_autofree char *root = make_root();

        if (!require_podman())
                return;
        assert_container_serves("--userns=host", root);
        machine_write(LOG, "");
        assert_container_serves("--userns=keep-id", root);
}

/* It sends the user ID that it has in the container. */
FLATPAK_TEST("libdbus in a container needs the user ID of the host") {
        g_autofree char *root = make_root();

        if (!require_podman())
                return;
        g_assert_cmpint(run_in_session(LOG, PODMAN("--userns=host", "--rootfs", root, DBUS_SEND)), ==, 1);
        g_assert_cmpint(run_in_session(LOG, PODMAN("--userns=keep-id", "--rootfs", root, DBUS_SEND)), ==, 0);
}

/* It has no account on the host. */
FLATPAK_TEST("dbus-daemon refuses other users of a container") {
        g_autofree char *root = make_root();

        if (!require_podman())
                return;
        g_assert_cmpint(run_in_session(LOG,
                                       PODMAN("--userns=host", "--user=1", "--rootfs", root, "python3", "-c",
                                              "from gi.repository import Gio\n"
                                              "Gio.bus_get_sync(Gio.BusType.SYSTEM)\n")),
                        ==, test_bus_is_broker() ? 0 : 1);
}

/* For all ports. Without a cgroup of its own, which this machine does not permit. */
FLATPAK_TEST("a container of root is root for the service") {
        g_autofree char *root = make_root();

        if (!require_podman())
                return;
        machine_use_installed_rules();
        g_autoptr(TestChild) child = machine_start_as(
                        "root", LOG,
                        PODMAN("--cgroups=disabled", "--rootfs", root, "/app/bin/hello.py", "80"));
        test_wait_for(test_file_contains(LOG, "Listening on port 80\n") || test_child_has_exited(child));
        g_assert_false(test_child_has_exited(child));
        assert_answers(test_connect("127.0.0.1", 80), "Hello, 127.0.0.1\n");
        g_free(machine_run("podman", "stop", "--time=0", "hello"));
        (void) test_child_wait(child);
}

/* --------------------------------------------------------------------------------------------- Attacks */

static int server_new(const char *user) {
        const struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, r;

        g_assert_no_errno(fd);
        /* The kernel compares the users of sockets that share a port. */
        g_assert_no_errno(fchown(fd, machine_uid(user), (gid_t) -1));
        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)));
        r = bind(fd, (const struct sockaddr *) &any, sizeof(any));
        g_assert_no_errno(r);
        g_assert_no_errno(listen(fd, 4096));
        return fd;
}

static size_t get_size(const char *path) {
        struct stat status;

        g_assert_no_errno(stat(path, &status));
        return (size_t) status.st_size;
}

/* The attacker writes "peer ADDRESS PORT" where it needs a peer. */
static void serve_attacker(TestChild *attacker, GArray *peers) {
        size_t position = 0;

        for (;;) {
                bool has_exited = test_child_has_exited(attacker);
                g_autofree char *log = test_read_file(ATTACK_LOG);
                char *end;

                for (char *line = log + position; (end = strchr(line, '\n')); line = end + 1) {
                        g_auto(GStrv) words = NULL;

                        position = (size_t) (end + 1 - log);
                        *end = '\0';
                        if (!g_str_has_prefix(line, "peer ")) {
                                g_test_message("%s", line);
                                continue;
                        }
                        words = g_strsplit(line, " ", -1);
                        g_assert_cmpuint(g_strv_length(words), ==, 3);
                        int fd = test_connect_start(NULL, words[1], (uint16_t) atoi(words[2]));
                        g_array_append_val(peers, fd);
                }
                if (has_exited)
                        return;
                test_wait_for(test_child_has_exited(attacker) || get_size(ATTACK_LOG) > position);
        }
}

static void attack(bool guarded) {
        _cleanup_close_ int victim = server_new(MACHINE_USER), other = server_new(MACHINE_WEB_USER);
        g_autofree char *victim_port = g_strdup_printf("%u", test_local_port(victim));
        g_autofree char *other_port = g_strdup_printf("%u", test_local_port(other));
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *build = g_path_get_dirname(self);
        g_autofree char *command = g_strdup_printf("--command=%s/test-machine-containment", build);
        g_autofree char *file = g_strdup_printf("--filesystem=%s/test-machine-containment:ro", build);
        g_autoptr(GArray) peers = g_array_new(FALSE, FALSE, sizeof(int));

        machine_set_rule("polkit.addRule(function(action, subject) { return polkit.Result.YES; });");
        machine_write(ATTACK_LOG, "");
        g_autoptr(TestChild) attacker = start_in_session(
                        ATTACK_LOG, WORDS("flatpak", "run", file, command, APPLICATION, "--sandbox",
                                          guarded ? "guarded" : "unguarded", victim_port, other_port));
        serve_attacker(attacker, peers);
        g_assert_cmpint(test_child_wait(attacker), ==, 0);
        g_assert_true(test_has_input(victim) == !guarded);
        for (unsigned i = 0; i < peers->len; i++)
                close_fd(g_array_index(peers, int, i));
}

static bool has_guard(void) {
        if (access("/usr/libexec/tcpserversocket-guard", X_OK) >= 0)
                return true;
        g_test_skip("the guard is not installed");
        return false;
}

FLATPAK_TEST("with the guard, it can neither connect nor bind") {
        if (has_guard())
                attack(true);
}

FLATPAK_TEST("without the guard, it can connect and bind") {
        machine_configure_unit("ExecStartPre=");
        attack(false);
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);
        test_show_on_failure(LOG);
        return test_run();
}
