/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tool tells whether the real firewalld lets a port in. A neighbour shows that it is right. */

#include <netinet/in.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "bus/network.h"
#include "machine/machine.h"

#define LOG "/run/test-firewall.log"
#define TOOL "tcpserversocketctl"
#define SESSION "test-session.service"
#define FIREWALL "test-firewall.service" /* the machine may have masked the installed unit */
/* Tests with this port start the tool several times. */
#define PORT "8080"

static void firewall(const char *words) {
        g_autofree char *line = g_strdup_printf("firewall-cmd --quiet %s", words);

        g_free(machine_run("sh", "-c", line));
}

static void stop_firewall(void *unused) {
        g_free(machine_run("systemctl", "stop", FIREWALL));
}

/* As it is installed, until the test ends: the default zone is "public", and has no interface of its own. */
static bool start_firewall(void) {
        static bool has_neighbour;

        if (!test_require_program("firewalld"))
                return false;

        has_neighbour = has_neighbour || test_add_neighbour();
        if (!has_neighbour) {
                g_test_skip("needs ip(8)");
                return false;
        }

        g_free(machine_run("systemd-run", "--quiet", "--collect", "--unit", FIREWALL, "--service-type=dbus",
                           "--property=BusName=org.fedoraproject.FirewallD1", "firewalld", "--nofork",
                           "--nopid"));
        g_test_queue_destroy(stop_firewall, NULL);
        return true;
}

/* Whether the process sleeps in its event loop. */
static bool is_waiting(pid_t pid) {
        static const int calls[] = {
#ifdef SYS_epoll_wait
                SYS_epoll_wait,
#endif
                SYS_epoll_pwait,
                SYS_epoll_pwait2,
        };
        g_autofree char *path = g_strdup_printf("/proc/%d/syscall", (int) pid), *content = NULL;
        bool waits = false;

        if (g_file_get_contents(path, &content, NULL, NULL))
                for (size_t i = 0; i < ELEMENTS(calls); i++)
                        waits = waits || (g_ascii_isdigit(*content) && atoi(content) == calls[i]);
        return waits;
}

/* Whether a timer of the monotonic clock runs. */
static bool has_timer(pid_t pid) {
        g_autofree char *directory = g_strdup_printf("/proc/%d/fdinfo", (int) pid);
        g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
        const char *fd;

        while (dir && (fd = g_dir_read_name(dir))) {
                g_autofree char *path = g_build_filename(directory, fd, NULL), *content = NULL;

                if (g_file_get_contents(path, &content, NULL, NULL) && strstr(content, "\nclockid: 1\n") &&
                    !strstr(content, "\nit_value: (0, 0)\n"))
                        return true;
        }
        return false;
}

/* The tool asks before its event loop begins, and its only timer is the deadline for the answer. */
static bool has_asked(pid_t pid) {
        return is_waiting(pid) && !has_timer(pid);
}

static TestChild *start_tool(const char *user, const char *const *argv) {
        machine_write(LOG, "");
        TestChild *tool = machine_start_as(user, LOG, argv);
        test_wait_for(test_file_contains(LOG, "Listening on ") || test_child_has_exited(tool));
        if (test_child_has_exited(tool)) {
                g_autofree char *log = test_read_file(LOG);

                g_error("the tool has ended with %d: %s", tool->status, log);
        }
        return tool;
}

static void stop_tool(TestChild *tool) {
        test_child_signal(tool, SIGTERM);
        (void) test_child_wait(tool);
}

/* Returns the zone that does not let PORT in, or NULL if "listen" with these arguments says nothing. */
static char *get_closed_zone(const char *user, const char *arguments) {
        g_autofree char *line = g_strdup_printf("exec " TOOL " listen %s -- sleep infinity", arguments);
        g_autoptr(TestChild) tool = start_tool(user, WORDS("sh", "-c", line));
        char zone[32], end;

        test_wait_for(has_asked(tool->pid));
        stop_tool(tool);

        g_autofree char *log = test_read_file(LOG);
        const char *told = strstr(log, "\nThe zone ");
        if (!told)
                return NULL;
        /* One line. */
        g_assert_cmpint(sscanf(told,
                               "\nThe zone \"%31[^\"]\" of the firewall does not let port " PORT " in%c",
                               zone, &end),
                        ==, 2);
        g_assert_null(strchr(strchr(told + 1, '\n') + 1, '\n'));
        return g_strdup(zone);
}

static void assert_zone(const char *arguments, const char *expected) {
        g_autofree char *zone = get_closed_zone(NULL, arguments);

        g_test_message("listen %s", arguments);
        g_assert_cmpstr(zone, ==, expected);
}

/* Runs what stands between the second pair of quotes after "The zone". */
static void run_advice(void) {
        g_autofree char *log = test_read_file(LOG);
        g_auto(GStrv) parts = g_strsplit(strstr(log, "The zone "), "\"", -1);

        g_assert_cmpuint(g_strv_length(parts), ==, 5);
        g_assert_true(g_str_has_prefix(parts[3], "firewall-cmd "));
        g_free(machine_run("sh", "-c", parts[3]));
}

static void assert_advice_opens(const char *const *argv) {
        g_autoptr(TestChild) tool = start_tool(NULL, argv);

        test_wait_for(test_file_contains(LOG, "firewalld is reloaded.\n"));
        test_network_visit_neighbour();
        g_assert_cmpint(test_connect_fails(TEST_IPV4, 8080), !=, 0);
        test_network_return();

        run_advice();
        int peer = test_connect_from_neighbour(TEST_IPV4, 8080);
        (void) close(peer);
        stop_tool(tool);

        /* The next listener has nothing to say. */
        assert_zone(PORT, NULL);
        firewall("--remove-port=" PORT "/tcp");
}

/* The target of "relay". A target that refuses connections would reset the neighbour's. */
static int listen_as_target(void) {
        struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, (const struct sockaddr *) &in, sizeof(in)));
        g_assert_no_errno(listen(fd, 16));
        return fd;
}

MACHINE_TEST("the command in the message lets a neighbour in") {
        if (!start_firewall())
                return;

        _cleanup_close_ int target = listen_as_target();
        g_autofree char *target_name = g_strdup_printf("127.0.0.1:%u", test_local_port(target));

        assert_advice_opens(WORDS(TOOL, "listen", PORT, "--", "sleep", "infinity"));
        assert_advice_opens(WORDS(TOOL, "listen", "--accept", PORT, "--", "true"));
        assert_advice_opens(WORDS(TOOL, "relay", PORT, target_name));
        assert_advice_opens(WORDS(TOOL, "run", "--port=" PORT, "python3", "-m", "http.server", PORT));
}

MACHINE_TEST("nothing is said about a port that is open, or about a local one") {
        static const struct {
                const char *change, *undo; /* of firewall-cmd */
        } open[] = {
                { "--add-port=8000-8100/tcp", "--remove-port=8000-8100/tcp" },
                { "--add-service=test-web", "--remove-service=test-web" },
                { "--add-protocol=tcp", "--remove-protocol=tcp" },
                { "--set-default-zone=trusted", "--set-default-zone=public" },
                { "--add-rich-rule='rule family=ipv4 source address=192.0.2.0/24 accept'",
                  "--remove-rich-rule='rule family=ipv4 source address=192.0.2.0/24 accept'" },
                { "--add-rich-rule='rule port port=8080 protocol=tcp accept'",
                  "--remove-rich-rule='rule port port=8080 protocol=tcp accept'" },
                { "--add-rich-rule='rule service name=test-web log accept'",
                  "--remove-rich-rule='rule service name=test-web log accept'" },
        };
        static const struct {
                const char *change, *undo;
        } closed[] = {
                { "--add-port=" PORT "/udp", "--remove-port=" PORT "/udp" },
                { "--add-port=8081/tcp", "--remove-port=8081/tcp" },
                { "--add-service=http", "--remove-service=http" },
                { "--add-rich-rule='rule port port=8081 protocol=tcp accept'",
                  "--remove-rich-rule='rule port port=8081 protocol=tcp accept'" },
                { "--add-rich-rule='rule port port=" PORT " protocol=tcp reject'",
                  "--remove-rich-rule='rule port port=" PORT " protocol=tcp reject'" },
                { "--add-rich-rule='rule icmp-type name=echo-request accept'",
                  "--remove-rich-rule='rule icmp-type name=echo-request accept'" },
        };

        if (!start_firewall())
                return;
        firewall("--permanent --new-service=test-port");
        firewall("--permanent --new-service=test-web");
        firewall("--permanent --service=test-web --add-include=test-port");
        firewall("--permanent --service=test-port --add-port=" PORT "/tcp");
        firewall("--reload");

        assert_zone(PORT, "public");
        for (size_t i = 0; i < ELEMENTS(open); i++) {
                firewall(open[i].change);
                g_test_message("%s", open[i].change);
                assert_zone(PORT, NULL);
                firewall(open[i].undo);
        }
        for (size_t i = 0; i < ELEMENTS(closed); i++) {
                firewall(closed[i].change);
                g_test_message("%s", closed[i].change);
                assert_zone(PORT, "public");
                firewall(closed[i].undo);
        }

        assert_zone("127.0.0.1:" PORT, NULL);
        assert_zone("127.1.2.3:" PORT, NULL);
        assert_zone("[::1]:" PORT, NULL);
        assert_zone("--interface=lo " PORT, NULL);
}

MACHINE_TEST("a policy for the host can open a port") {
        if (!start_firewall())
                return;
        firewall("--permanent --new-policy=test");
        firewall("--permanent --policy=test --add-ingress-zone=ANY");
        firewall("--permanent --policy=test --add-egress-zone=HOST");
        firewall("--reload");
        assert_zone(PORT, "public");
        firewall("--policy=test --add-port=" PORT "/tcp");
        assert_zone(PORT, NULL);
        firewall("--permanent --delete-policy=test");
}

MACHINE_TEST("the zone is that of the interface where connections arrive") {
        if (!start_firewall())
                return;
        test_network_ip("link property add dev " TEST_INTERFACE " altname test-alt");

        firewall("--zone=work --add-interface=" TEST_INTERFACE);
        assert_zone(TEST_IPV4 ":" PORT, "work");
        assert_zone("[" TEST_IPV6 "]:" PORT, "work");
        assert_zone("[" TEST_LINK_LOCAL "%" TEST_INTERFACE "]:" PORT, "work");
        assert_zone("--interface=" TEST_INTERFACE " " PORT, "work");
        assert_zone("--interface=test-alt " PORT, "work");
        /* It is the only interface. */
        assert_zone(PORT, "work");
        /* The interface of an address that comes later is not known. */
        assert_zone("--free-bind 198.51.100.7:" PORT, NULL);

        firewall("--zone=work --add-port=" PORT "/tcp");
        assert_zone(PORT, NULL);
        firewall("--zone=work --remove-interface=" TEST_INTERFACE);
        assert_zone(TEST_IPV4 ":" PORT, "public");
}

MACHINE_TEST("each port has a line of its own") {
        if (!start_firewall())
                return;
        firewall("--add-port=8081/tcp");
        g_autoptr(TestChild) tool = start_tool(
                        NULL, WORDS(TOOL, "listen", "8080", "8081", "8082", "--", "sleep", "infinity"));
        test_wait_for(has_asked(tool->pid));
        g_assert_true(test_file_contains(LOG, "does not let port 8080 in"));
        g_assert_false(test_file_contains(LOG, "does not let port 8081 in"));
        g_assert_true(test_file_contains(LOG, "does not let port 8082 in"));
        stop_tool(tool);
}

MACHINE_TEST("a user whom firewalld does not answer reads nothing") {
        static const char rule[] = "polkit.addRule(function(action, subject) {"
                                   "  if (action.id == 'org.fedoraproject.FirewallD1.config.info')"
                                   "    return polkit.Result.%s;"
                                   "});";

        if (!start_firewall())
                return;
        g_autofree char *no = g_strdup_printf(rule, "NO"), *yes = g_strdup_printf(rule, "YES");

        machine_set_rule(no);
        g_assert_null(get_closed_zone(MACHINE_USER, PORT));
        machine_set_rule(yes);
        g_autofree char *zone = get_closed_zone(MACHINE_USER, PORT);
        g_assert_cmpstr(zone, ==, "public");
}

MACHINE_TEST("with --quiet, firewalld is not asked") {
        if (!start_firewall())
                return;
        machine_write(LOG, "");
        g_autoptr(TestChild) tool = machine_start_as(NULL, LOG,
                                                     WORDS(TOOL, "--quiet", "listen", PORT, "--", "sh", "-c",
                                                           "echo ready; exec sleep infinity"));
        test_wait_for(test_file_contains(LOG, "ready\n"));
        test_wait_for(is_waiting(tool->pid));
        g_assert_false(has_timer(tool->pid));
        stop_tool(tool);
        g_autofree char *log = test_read_file(LOG);
        g_assert_cmpstr(log, ==, "ready\n");
}

static void expect_served(TestChild *tool) {
        int peer = test_connect("127.0.0.1", 8080);

        g_assert_false(test_child_has_exited(tool));
        g_assert_cmpint(test_wait_end(peer), >=, 0);
        (void) close(peer);
}

/* Whether the tool serves without delay, and ends as always, before it gives the question up. */
static bool works_while_asking(void) {
        g_autoptr(TestChild) tool = start_tool(NULL, WORDS(TOOL, "listen", "--accept", PORT, "--", "true"));
        gint64 start = g_get_monotonic_time();

        expect_served(tool);
        bool asks = has_timer(tool->pid) && g_get_monotonic_time() < start + G_USEC_PER_SEC / 2;
        test_child_signal(tool, SIGTERM);
        g_assert_cmpint(test_child_wait(tool), ==, 128 + SIGTERM);
        g_assert_false(test_file_contains(LOG, "firewall"));
        return asks;
}

MACHINE_TEST("a firewalld that hangs delays nothing, and its late answer is dropped") {
        bool works = false;
        int status;

        if (!start_firewall())
                return;
        g_free(machine_run("systemctl", "kill", "--signal=STOP", FIREWALL));

        /* On a busy host the time may be over too soon. */
        for (unsigned n = 0; n < 10 && !works; n++)
                works = works_while_asking();
        g_assert_true(works);

        g_autoptr(TestChild) tool = start_tool(NULL, WORDS(TOOL, "listen", "--accept", PORT, "--", "true"));
        test_wait_for(has_asked(tool->pid));
        expect_served(tool);

        g_free(machine_run("systemctl", "kill", "--signal=CONT", FIREWALL));
        /* Answered after the question of the tool. */
        g_free(machine_run_as(NULL, &status, "firewall-cmd", "--get-default-zone"));
        g_assert_cmpint(status, ==, 0);
        expect_served(tool);
        test_child_signal(tool, SIGTERM);
        g_assert_cmpint(test_child_wait(tool), ==, 128 + SIGTERM);
        g_assert_false(test_file_contains(LOG, "firewall"));
}

MACHINE_TEST("the tool of a session asks on the system bus") {
        if (!start_firewall() || !test_require_program("dbus-run-session"))
                return;
        machine_write(LOG, "");
        g_free(machine_run("systemd-run", "--quiet", "--collect", "--unit", SESSION,
                           "--property=StandardError=append:" LOG, "dbus-run-session", "--", "sh", "-c",
                           "/usr/libexec/tcpserversocketd --user & "
                           "until busctl --user --quiet status org.example.TCPServerSocket; do :; done 2>&1; "
                           "exec " TOOL " --user listen " PORT " -- sleep infinity"));
        test_wait_for(test_file_contains(LOG, "The zone \"public\" of the firewall does not let port " PORT
                                              " in"));
        g_free(machine_run("systemctl", "stop", SESSION));
}

MACHINE_TEST("without firewalld, nothing is said") {
        g_autoptr(TestChild) tool = start_tool(NULL, WORDS(TOOL, "listen", PORT, "--", "sleep", "infinity"));

        test_wait_for(has_asked(tool->pid));
        stop_tool(tool);
        g_assert_false(test_file_contains(LOG, "firewall"));
}
