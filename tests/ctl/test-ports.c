/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ports of "listen" and "relay": how the command line names them, and how COMMAND does. */

#include "base/address.h"
#include "ctl/serving.h"

static int bind_port(uint16_t port) {
        Address a = address_any(AF_INET6);
        int fd;

        address_set_port(&a, port);
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(fd);
        if (bind(fd, &a.sa, a.size) < 0) {
                close(fd);
                return -EADDRINUSE;
        }
        return fd;
}

/* Returns the first of this many ports in a row that no socket has. */
static uint16_t find_free_ports(uint16_t n) {
        for (unsigned attempt = 0; attempt < 100; attempt++) {
                uint16_t first = test_free_port();
                unsigned n_free = 0;

                while (n_free < n && first + n_free <= UINT16_MAX) {
                        int fd = bind_port((uint16_t) (first + n_free));

                        if (fd < 0)
                                break;
                        close(fd);
                        n_free++;
                }
                if (n_free == n)
                        return first;
        }
        g_assert_not_reached();
}

static const char *const show_sockets[] = { "python3", "-c",
                                            "import os, socket\n"
                                            "for fd in range(3, 3 + int(os.environ['LISTEN_FDS'])):\n"
                                            "    s = socket.socket(fileno=fd)\n"
                                            "    v6 = s.family == socket.AF_INET6\n"
                                            "    print(s.getsockname()[1],\n"
                                            "          s.getsockopt(41, 26) if v6 else 'v4')\n"
                                            "print(os.environ['LISTEN_FDNAMES'])\n",
                                            NULL };

/* Lines of "PORT V6ONLY" for each socket that COMMAND gets, and one of their names. argv: before "--". */
static char **list_sockets(Fixture *f, const char *const *argv) {
        g_autoptr(GPtrArray) all = g_ptr_array_new();

        for (; *argv; argv++)
                g_ptr_array_add(all, (char *) *argv);
        g_ptr_array_add(all, (char *) "--");
        for (const char *const *word = show_sockets; *word; word++)
                g_ptr_array_add(all, (char *) *word);
        g_ptr_array_add(all, NULL);

        g_autoptr(ToolResult) result = tool_run_full(f->bus, NULL, 0, (const char *const *) all->pdata);
        g_assert_cmpint(result->status, ==, 0);
        return g_strsplit(result->out, "\n", -1);
}

/* As ListenStream=0.0.0.0:8080, ListenStream=[::]:8080 and BindIPv6Only=ipv6-only. */
TEST("both families of a port are two sockets") {
        uint16_t port = find_free_ports(1);
        g_autofree char *v4 = g_strdup_printf("0.0.0.0:%u", port), *v6 = g_strdup_printf("[::]:%u", port),
                        *v4_line = g_strdup_printf("%u v4", port), *v6_line = g_strdup_printf("%u 1", port),
                        *dual_line = g_strdup_printf("%u 0", port),
                        *loopback = g_strdup_printf("127.0.0.1:%u", port);

        g_auto(GStrv) lines = list_sockets(f, WORDS("listen", v4, v6));
        g_assert_cmpstr(lines[0], ==, v4_line);
        g_assert_cmpstr(lines[1], ==, v6_line);
        g_auto(GStrv) swapped = list_sockets(f, WORDS("listen", v6, loopback));
        g_assert_cmpstr(swapped[0], ==, v6_line);
        g_assert_cmpstr(swapped[1], ==, v4_line);
        /* Alone, it has both families. */
        g_auto(GStrv) alone = list_sockets(f, WORDS("listen", v6));
        g_assert_cmpstr(alone[0], ==, dual_line);
        /* An explicit option counts. */
        tool_assert_fails(tool_run(f->bus, "listen", "--ipv6-only=no", v6, v4, "--", "true"), 1, "in use");

        g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0,
                                          WORDS("listen", "--inetd", v4, v6, "--", "echo", "hello"));
        test_wait_for(test_service_is_listening(f->service, port) && tool_has_complained(tool, "[::]"));
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_close_ int peer = test_connect(i == 0 ? "127.0.0.1" : "::1", port);

                test_expect(peer, "hello\n");
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("a port that is given twice") {
        g_autofree char *port = g_strdup_printf("%u", find_free_ports(1));

        tool_assert_fails(tool_run(f->bus, "listen", port, port, "--", "true"), 1,
                          "is in use; this command has bound it already, so leave one out.");
}

TEST("all addresses of a port") {
        uint16_t port = find_free_ports(1);
        g_autofree char *star = g_strdup_printf("*:%u", port), *none = g_strdup_printf(":%u", port),
                        *line = g_strdup_printf("%u 0", port);

        /* The option is for ports without an address. */
        g_auto(GStrv) a = list_sockets(f, WORDS("listen", "--local-address=127.0.0.1", star));
        g_assert_cmpstr(a[0], ==, line);
        g_auto(GStrv) b = list_sockets(f, WORDS("listen", "--local-address=127.0.0.1", none));
        g_assert_cmpstr(b[0], ==, line);
}

TEST("ranges of ports") {
        uint16_t first = find_free_ports(3);
        g_autofree char *all = g_strdup_printf("%u-%u", first, first + 2),
                        *loopback = g_strdup_printf("[::1]:%u-%u", first, first + 1),
                        *names = g_strdup_printf("%u:%u:%u", first, first + 1, first + 2),
                        *backward = g_strdup_printf("127.0.0.1:%u-%u", first + 1, first),
                        *one = g_strdup_printf("%u-%u", first, first);

        g_auto(GStrv) lines = list_sockets(f, WORDS("listen", all));
        g_assert_cmpuint(g_strv_length(lines), ==, 5);
        for (unsigned i = 0; i < 3; i++)
                g_assert_cmpuint((unsigned) atoi(lines[i]), ==, first + i);
        g_assert_cmpstr(lines[3], ==, names);
        g_auto(GStrv) some = list_sockets(f, WORDS("listen", loopback));
        g_assert_cmpuint(g_strv_length(some), ==, 4);

        g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0,
                                          WORDS("listen", "--inetd", all, "--", "echo", "hello"));
        test_wait_for(test_service_is_listening(f->service, (uint16_t) (first + 2)));
        for (unsigned i = 0; i < 3; i++) {
                _cleanup_close_ int peer = test_connect("::1", (uint16_t) (first + i));

                test_expect(peer, "hello\n");
        }
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);

        tool_assert_fails(tool_run(f->bus, "listen", backward, "--", "true"), 1, "is not a range of ports",
                          "the lower port first");
        tool_assert_fails(tool_run(f->bus, "listen", "0-3", "--", "true"), 1, "\"0-3\" is not a range");
        tool_assert_fails(tool_run(f->bus, "listen", "65535-65536", "--", "true"), 1, "is not a range");
        tool_assert_fails(tool_run(f->bus, "relay", all, "127.0.0.1:9"), 1, "is a range of ports",
                          "only one port is possible here");
        g_autoptr(Tool) relay = tool_start(f->bus, NULL, 0, WORDS("relay", one, "localhost:http"));
        test_wait_for(test_service_is_listening(f->service, first));
        g_assert_cmpint(serving_end(relay, SIGTERM), ==, 128 + SIGTERM);
}

static void assert_names(Fixture *f, const char *const *argv, const char *names) {
        g_auto(GStrv) lines = list_sockets(f, argv);

        g_assert_cmpuint(g_strv_length(lines), >=, 2);
        g_assert_cmpstr(lines[g_strv_length(lines) - 2], ==, names);
}

/* As FileDescriptorName= of systemd does. */
TEST("names of the descriptors") {
        g_autofree char *longest = g_strnfill(255, 'x'), *option = g_strdup_printf("--fd-name=%s", longest),
                        *too_long = g_strdup_printf("--fd-name=a:%sx", longest);
        static const struct {
                const char *argv[8];
                const char *says[2];
        } cases[] = {
                { { "listen", "--fd-name=a:b", "0", "--", "true" },
                  { "--fd-name= has 2 names for 1 ports", "one name for all ports, or one for each" } },
                { { "listen", "--fd-name=a:b", "0", "0", "0", "--", "true" },
                  { "--fd-name= has 2 names for 3 ports" } },
                { { "listen", "--fd-name=\xc3\xa4", "0", "--", "true" },
                  { "--fd-name= cannot be ", "ASCII characters, separated by colons" } },
                { { "listen", "--fd-name=a\tb", "0", "--", "true" }, { "--fd-name= cannot be " } },
                { { "listen", "--accept", "--fd-name=a:b", "0", "0", "--", "true" },
                  { "With --accept", "one name only" } },
                { { "listen", "--inetd", "--fd-name=a", "0", "--", "true" },
                  { "--fd-name cannot be combined with --inetd" } },
        };

        assert_names(f, WORDS("listen", "--fd-name=web", "0", "0"), "web:web");
        assert_names(f, WORDS("listen", "--fd-name=a:b c", "0", "0"), "a:b c");
        assert_names(f, WORDS("listen", "--fd-name=a", "--fd-name=b", "0", "0"), "a:b");
        assert_names(f, WORDS("listen", "--fd-name=:b", "0", "0"), ":b");
        assert_names(f, WORDS("listen", option, "0"), longest);
        tool_assert_fails(tool_run(f->bus, "listen", too_long, "0", "0", "--", "true"), 1,
                          "longer than 255 bytes");
        for (size_t i = 0; i < ELEMENTS(cases); i++)
                tool_assert_fails(tool_run_full(f->bus, NULL, 0, cases[i].argv), 1, cases[i].says[0],
                                  cases[i].says[1]);

        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--accept", "--fd-name=peer", "0", "--", "sh",
                                                   "-c", "echo $LISTEN_FDNAMES >&3"));
        _cleanup_close_ int peer = test_connect("::1", port);
        test_expect(peer, "peer\n");
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("the name of a listener is that of COMMAND or of the target") {
        static const struct {
                const char *argv[7];
                const char *name;
        } cases[] = {
                { { "listen", "0", "--", "/bin/sleep", "1000" }, "sleep" },
                { { "listen", "--inetd", "0", "--", "cat" }, "cat" },
                { { "relay", "0", "localhost:http" }, "localhost:http" },
                { { "listen", "--name=mine", "0", "--", "sleep", "1000" }, "mine" },
                { { "listen", "--name=", "0", "--", "sleep", "1000" }, "" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                uint16_t port;
                g_autoptr(Tool) tool = serving_start(f->bus, &port, cases[i].argv);
                g_autoptr(json_object) list = tool_run_json(f->bus, "list", "-j");

                g_assert_cmpuint(json_object_array_length(list), ==, 1);
                g_assert_cmpstr(json_get_string(json_object_array_get_idx(list, 0), "name"), ==,
                                cases[i].name);
                g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        }
}
