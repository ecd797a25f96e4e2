/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen" without --accept: an unmodified server, as from socket activation. */

#include <sys/resource.h>
#include <sys/stat.h>

#include "ctl/serving.h"

static bool find_port(Tool *tool, const char *address, uint16_t *ret) {
        g_autofree char *text = NULL,
                        *start = g_strdup_printf(strchr(address, ':') ? "on [%s]:" : "on %s:", address);

        if (!g_file_get_contents(tool->err, &text, NULL, NULL))
                return false;
        const char *place = strstr(text, start);
        if (!place || !strchr(place, '\n'))
                return false;
        *ret = (uint16_t) atoi(place + strlen(start));
        return true;
}

TEST("passes several sockets to the command") {
        g_autoptr(ToolResult) result = tool_run(
                        f->bus, "listen", "--quiet", "0", "127.0.0.1:0", "[::1]:0", "--", "sh", "-c",
                        "test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES && ls /proc/self/fd");
        g_auto(GStrv) lines = g_strsplit(result->out, "\n", -1);
        unsigned a, b, c;

        g_assert_cmpint(result->status, ==, 0);
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpint(sscanf(lines[0], "3 %u:%u:%u", &a, &b, &c), ==, 3);
        /* The first one has all addresses; the kernel may give the other two the same port. */
        g_assert_cmpuint(a, !=, b);
        g_assert_cmpuint(a, !=, c);
        /* The sockets and the directory that ls reads; no descriptor of the tool. The last line is empty. */
        g_assert_cmpint(g_strv_length(lines), ==, 1 + serving_count_inherited() + 3 + 1 + 1);
        /* When the tool has ended, the ports are free. */
        g_assert_false(test_service_is_listening(f->service, (uint16_t) a));
        g_assert_false(test_service_is_listening(f->service, (uint16_t) b));
        g_assert_false(test_service_is_listening(f->service, (uint16_t) c));
}

/* Such as a container without a service manager. */
TEST_IF(test_require_root(), "in a PID namespace, LISTEN_PID is the number that the command has there") {
        g_autofree char *directory = test_make_directory("namespace"),
                        *log = g_build_filename(directory, "log", NULL);
        g_autoptr(TestChild) child = tool_spawn(f->bus, log,
                                                WORDS("unshare", "--pid", "--fork", "--kill-child",
                                                      g_getenv("TEST_CTL"), "listen", "--quiet", "0", "--",
                                                      "sh", "-c", "echo $LISTEN_PID $$"));
        unsigned given, own;

        g_assert_cmpint(test_child_wait(child), ==, 0);
        g_autofree char *text = test_read_file(log);
        g_assert_cmpint(sscanf(text, "%u %u\n", &given, &own), ==, 2);
        g_assert_cmpuint(given, ==, own);
        g_assert_cmpuint(own, <, 10);
}

/* The socket is in blocking mode. */
TEST("the command accepts") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "0", "--", "python3", "-c",
                                                   "import socket\n"
                                                   "s = socket.socket(fileno=3)\n"
                                                   "while True:\n"
                                                   "    c, peer = s.accept()\n"
                                                   "    c.sendall(b'hello')\n"
                                                   "    c.close()\n"));

        for (unsigned i = 0; i < 3; i++) {
                _cleanup_close_ int peer = test_connect(i == 1 ? "127.0.0.1" : "::1", port);

                test_expect(peer, "hello");
                g_assert_cmpint(test_wait_end(peer), ==, 0);
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, port));
}

/* Restart=on-failure of a unit starts the tool again. */
TEST_IF(test_require_private_network(), "fails when the network interface is gone") {
        static const char *const commands[][8] = {
                { "listen", "--interface=vpn0", "0", "--", "sleep", "1000" },
                { "listen", "--accept", "--interface=vpn0", "0", "--", "cat" },
                { "listen", "--interface=vpn0", "--persistent", "0", "--", "sleep", "1000" },
                { "relay", "--interface=vpn0", "0", "127.0.0.1:9" },
                { "relay", "--delivery=channel", "--local-address=fe80::7%vpn0", "0", "127.0.0.1:9" },
        };

        for (size_t i = 0; i < ELEMENTS(commands); i++) {
                uint16_t port;

                test_network_ip("link add vpn0 type veth peer name peer0");
                test_network_ip("addr add fe80::7/64 dev vpn0 nodad");
                test_network_ip("link set vpn0 up");
                Tool *tool = serving_start(f->bus, &port, commands[i]);
                test_network_ip("link del vpn0");
                g_autoptr(ToolResult) result = tool_finish(tool);
                g_assert_cmpint(result->status, ==, 1);
                g_assert_nonnull(strstr(result->err,
                                        "is lost: its network interface is gone; run the command again"));
                g_assert_false(test_service_is_listening(f->service, port));
        }
}

TEST("exit statuses") {
        static const struct {
                const char *command[4];
                int status;
                const char *says;
        } cases[] = {
                { { "true" }, 0, "" },
                { { "sh", "-c", "exit 77" }, 77, "" },
                { { "there-is-no-such-program" },
                  127,
                  "Failed to execute \"there-is-no-such-program\": no such program.\n" },
                { { "/nowhere/at/all" }, 127, "Failed to execute \"/nowhere/at/all\": no such program.\n" },
                { { "/etc/passwd" }, 126, "Failed to execute \"/etc/passwd\": Permission denied.\n" },
                { { "/usr" }, 126, "Failed to execute \"/usr\": Permission denied.\n" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                const char *const *c = cases[i].command;
                g_autoptr(ToolResult)
                                result = tool_run(f->bus, "listen", "--quiet", "0", "--", c[0], c[1], c[2]);

                g_assert_cmpstr(result->err, ==, cases[i].says);
                g_assert_cmpint(result->status, ==, cases[i].status);
        }
}

static char *here;

static void go_there(void *data) {
        g_assert_no_errno(chdir(here));
}

/* An empty part of PATH is the working directory; environ(7). */
TEST("finds the command in the working directory") {
        here = test_make_directory("here");
        g_autofree char *program = g_build_filename(here, "only-here", NULL);
        g_assert_true(g_file_set_contents_full(program, "#!/bin/sh\necho found\n", -1,
                                               G_FILE_SET_CONTENTS_NONE, 0755, NULL));
        tool_set_up_with(go_there);
        g_autoptr(ToolResult) result = tool_run_full(f->bus, WORDS("PATH=/usr/bin::/bin"), 0,
                                                     WORDS("listen", "--quiet", "0", "--", "only-here"));
        tool_set_up_with(NULL);
        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpstr(result->out, ==, "found\n");
        g_clear_pointer(&here, g_free);
}

/* A directory of PATH that the user may not search hides nothing in the others; execvp() fails with EACCES.
 */
TEST("ignores directories that it may not search") {
        g_autofree char *hidden = test_make_directory("hidden"),
                        *path = g_strdup_printf("PATH=%s:/usr/bin:/bin", hidden);

        g_assert_no_errno(chmod(hidden, 0));
        g_autoptr(ToolResult) result = tool_run_full(
                        f->bus, WORDS(path), geteuid() == 0 ? test_other_uid(0) : 0,
                        WORDS("listen", "--quiet", "0", "--", "there-is-no-such-program"));
        g_assert_no_errno(chmod(hidden, 0700));
        g_assert_cmpstr(result->err, ==,
                        "Failed to execute \"there-is-no-such-program\": no such program.\n");
        g_assert_cmpint(result->status, ==, 127);
}

/* Without a value, it is that of the tool's variable. The last option counts. */
TEST("sets variables for the command") {
        static const char *const ways[] = { "--quiet", "--inetd" };

        here = test_make_directory("elsewhere");
        g_autofree char *program = g_build_filename(here, "only-there", NULL), *path = NULL;
        g_assert_true(g_file_set_contents_full(
                        program,
                        "#!/bin/sh\necho \"$A|$B|$C|$D|${LISTEN_FDNAMES-unset}|${LISTEN_FDS-unset}\"\n", -1,
                        G_FILE_SET_CONTENTS_NONE, 0755, NULL));
        path = g_strdup_printf("--setenv=PATH=%s:/usr/bin:/bin", here);
        g_clear_pointer(&here, g_free);
        for (size_t i = 0; i < ELEMENTS(ways); i++) {
                uint16_t port = test_free_port();
                g_autofree char *text = g_strdup_printf("%u", port);
                Tool *tool = tool_start(f->bus, WORDS("A=a", "B=b", "C"), 0,
                                        WORDS("listen", ways[i], path, "--setenv=A", "--setenv=B=1",
                                              "--setenv=B=2=2", "--setenv", "C", "--setenv=D=",
                                              "--setenv=LISTEN_FDNAMES=x", text, "--", "only-there"));
                if (i == 0) {
                        g_autoptr(ToolResult) result = tool_finish(tool);

                        g_assert_cmpstr(result->err, ==, "");
                        g_assert_cmpstr(result->out, ==, "a|2=2|||x|1\n");
                        continue;
                }
                test_wait_for(tool_has_complained(tool, "Listening on "));
                _cleanup_close_ int peer = test_connect("127.0.0.1", port);
                test_expect(peer, "a|2=2|||x|unset\n");
                g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
                tool_free(tool);
        }
}

/* Its arguments, even those that look like the tool's; its limits; its signals. */
TEST("leaves the command alone") {
        struct rlimit limit;

        /* Lower than the hard limit, to which the tool raises its own. */
        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = MIN(limit.rlim_max / 2, 512);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));

        g_autoptr(ToolResult) result = tool_run(
                        f->bus, "listen", "--quiet", "0", "--", "sh", "-c",
                        "echo \"$@\"; ulimit -Sn; grep -E '^Sig(Blk|Ign)' /proc/self/status", "--",
                        "--accept", "--", "-h");
        g_auto(GStrv) lines = g_strsplit(result->out, "\n", -1);
        g_autofree char *directory = test_make_directory("plain"),
                        *path = g_build_filename(directory, "out", NULL);
        TestChild *plain = test_child_new(
                        WORDS("sh", "-c", "ulimit -Sn; grep -E '^Sig(Blk|Ign)' /proc/self/status"),
                        &(TestSpawn) { .log = path });

        g_assert_cmpint(test_child_wait(plain), ==, 0);
        test_child_free(plain);
        g_autofree char *expected = test_read_file(path);
        g_assert_cmpstr(lines[0], ==, "--accept -- -h");
        g_assert_cmpstr(strchr(result->out, '\n') + 1, ==, expected);
}

/* The connections of the two other ports are accepted, in the first case at once. */
TEST("tells that the command does not accept on a port") {
        g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0,
                                          WORDS("listen", "[::1]:0", "127.0.0.1:0", "127.0.0.2:0", "--",
                                                "python3", "-c",
                                                "import socket\n"
                                                "a = socket.socket(fileno=3)\n"
                                                "b = socket.socket(fileno=5)\n"
                                                "held = a.accept()\n"
                                                "a.accept()[0].sendall(b'hello')\n"
                                                "b.accept()[0].sendall(b'hello')\n"
                                                "held[0].recv(1)\n"));
        static const char *const addresses[] = { "::1", "127.0.0.1", "127.0.0.2" };
        int peers[5];
        uint16_t ports[3];

        for (unsigned i = 0; i < 3; i++)
                test_wait_for(find_port(tool, addresses[i], ports + i));
        peers[0] = test_connect("::1", ports[0]);
        peers[1] = test_connect("127.0.0.1", ports[1]);
        peers[2] = test_connect("127.0.0.1", ports[1]);
        peers[3] = test_connect("::1", ports[0]);
        peers[4] = test_connect("127.0.0.2", ports[2]);
        test_expect(peers[3], "hello");
        test_expect(peers[4], "hello");
        g_autofree char *line = g_strdup_printf(
                        "COMMAND does not accept on port %u; does it take descriptor 3? Try "
                        "\"tcpserversocketctl run\", see LISTENING in "
                        "tcpserversocketctl(1).",
                        ports[1]);
        test_wait_for(tool_has_complained(tool, line));
        g_assert_cmpuint(serving_count_complaints(tool, line), ==, 1);
        g_autofree char *text = test_read_file(tool->err);
        g_assert_null(strstr(strstr(text, line) + strlen(line), "does not accept"));
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                close(peers[i]);
        g_assert_cmpint(test_child_wait(tool->child), ==, 0);
}

/* If one of several ports fails, none stays bound without a server. */
TEST("persistent is all or nothing") {
        uint16_t first = test_free_port();
        g_autofree char *free_port = g_strdup_printf("%u", first), *listener = NULL, *taken = NULL;

        listener = test_listen(f->client, 0, -1, NULL);
        taken = g_strdup_printf("%u", test_get_port(f->client, listener));
        g_autoptr(ToolResult)
                        result = tool_run(f->bus, "listen", "--persistent", free_port, taken, "--", "true");
        g_assert_cmpint(result->status, ==, 1);
        g_assert_false(test_service_is_listening(f->service, first));
}

TEST("arguments that are wrong") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autofree char *taken = g_strdup_printf("%u", test_get_port(f->client, listener));
        static const struct {
                const char *argv[7];
                const char *says[2];
        } cases[] = {
                { { "listen", "0" }, { "Missing command to run", "after \"--\"" } },
                { { "listen", "0", "--" }, { "Missing command to run", "after \"--\"" } },
                { { "listen", "--max-connections=3", "0", "--", "true" },
                  { "so --max-connections= is not possible; use --accept" } },
                { { "listen", "--delivery=signal", "0", "--", "true" },
                  { "can only be \"socket\"", "--accept" } },
                { { "listen", "--accept", "--delivery=pull", "0", "--", "true" },
                  { "\"socket\" or \"channel\"" } },
                { { "listen", "--paused", "0", "--", "true" },
                  { "COMMAND accepts connections itself, so --paused is not possible; use --accept" } },
                { { "listen", "--allow-from=::1", "0", "--", "true" },
                  { "so --allow-from is not possible" } },
                { { "relay", "--delivery=socket", "--accept-rate=3", "0", "127.0.0.1:1" },
                  { "Option --accept-rate contradicts option --delivery, \"socket\"" } },
                { { "listen", "127.0.0.1:0", "--ipv6-only", "--", "true" },
                  { "The address 127.0.0.1 is an IPv4 address, which --ipv6-only excludes" } },
                { { "listen", "--local-address=127.0.0.1", "--ipv6-only", "0", "--", "true" },
                  { "Option --ipv6-only contradicts option --local-address, which is an IPv4 address" } },
                { { "listen", "[fe80::1]:0", "--", "true" }, { "The address fe80::1 is link-local" } },
                { { "listen", "--local-address=fe80::1", "0", "--", "true" },
                  { "Option --local-address is link-local and needs its interface" } },
                { { "listen", "[fe80::1%missing0]:0", "--", "true" },
                  { "The address fe80::1%missing0 has a network interface that this host does not have" } },
                { { "listen", "--interface=a/b", "0", "--", "true" },
                  { "Option --interface is not the name of a network interface" } },
                { { "listen", "--name=\t", "0", "--", "true" }, { "Option --name is not printable" } },
                { { "listen", "--defer-accept=3601", "0", "--", "true" },
                  { "Option --defer-accept is not between 0 and 3600" } },
                { { "listen", "--accept", "--paused", "0", "--", "true" },
                  { "--paused needs --persistent" } },
                { { "relay", "--acknowledge", "0", "127.0.0.1:1" },
                  { "--acknowledge is only for delivery \"signal\"", "leave it out" } },
                { { "listen", "192.0.2.77:0", "--", "true" }, { "192.0.2.77" } },
                { { "relay", "0", "nonsense" }, { "\"nonsense\" is not a target", "HOST:PORT" } },
                { { "relay", "0", "[::1]:" }, { "\"[::1]:\" is not a target" } },
                { { "relay", "0", "::1:80" }, { "\"::1:80\" is not a target", "[ADDRESS]:PORT" } },
                { { "relay", "0", "there.is.no.such.host.invalid:80" },
                  { "Failed to resolve the host \"there.is.no.such.host.invalid\"", "check its name" } },
                { { "listen", "nonsense", "--", "true" },
                  { "Unknown TCP service \"nonsense\"", "services(5)" } },
                { { "listen", "65536", "--", "true" }, { "\"65536\" is not a port", "from 0 to 65535" } },
                { { "listen", "-1", "--", "true" }, { "-1" } },
                { { "listen", " 80", "--", "true" }, { "\" 80\" is not a port" } },
                { { "listen", "[::1]:", "--", "true" }, { "\"[::1]:\" is not a port" } },
                { { "listen", "localhost:0", "--", "true" },
                  { "\"localhost\" is not an IP address", "127.0.0.1" } },
                { { "listen", "[127.0.0.1:0", "--", "true" }, { "\"[127.0.0.1\" is not an IP address" } },
                { { "relay", "--allow-from=192.0.2.0/33", "0", "127.0.0.1:1" },
                  { "Option --allow-from: entry 1 is not", "tcpserversocketctl(1)" } },
                { { "listen", "[]:80", "--", "true" }, { "no address before the port in \"[]:80\"" } },
                { { "relay", "0", "localhost:nonsense" }, { "Unknown TCP service \"nonsense\"" } },
                { { "relay", "0", "localhost:65616" }, { "\"localhost:65616\" is not a port" } },
                { { "relay", "0", "localhost:0" }, { "\"localhost:0\" has port 0" } },
        };

        tool_assert_fails(tool_run(f->bus, "listen", "0", taken, "--", "true"), 1, "in use", taken);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                tool_assert_fails(tool_run_full(f->bus, NULL, 0, cases[i].argv), 1, cases[i].says[0],
                                  cases[i].says[1]);
        }
}

TEST("ports have the names of services(5)") {
        static const char *const names[] = { "http", "127.0.0.1:http", "[::1]:http" };
        uint16_t port;
        g_autoptr(Tool) relay = serving_start(f->bus, &port, WORDS("relay", "0", "localhost:http"));

        g_assert_cmpint(serving_end(relay, SIGTERM), ==, 128 + SIGTERM);

        /* Root would get it. */
        if (!test_require_root())
                return;
        for (size_t i = 0; i < ELEMENTS(names); i++) {
                tool_assert_fails(tool_run_full(f->bus, NULL, test_other_uid(0),
                                                WORDS("listen", names[i], "--", "true")),
                                  1, "Failed to listen on port 80: ");
        }
}
