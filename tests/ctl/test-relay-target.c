/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The targets of "relay": how they are written, and what the tool says at the start about those that cannot
 * work. */

#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/address.h"
#include "ctl/relayed.h"

/* A target at a port that the kernel chooses. */
static Target target_new_at(const char *address) {
        Target t = {};
        Address a;

        g_assert_cmpint(address_parse(address, &a), ==, 0);
        t.fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(t.fd);
        g_assert_no_errno(bind(t.fd, &a.sa, a.size));
        g_assert_no_errno(listen(t.fd, 16));
        t.name = g_strdup_printf("%u", test_local_port(t.fd));
        return t;
}

static void assert_relays(Relayed *r) {
        _cleanup_close_ int client = test_connect("127.0.0.1", r->port), target = target_accept(&r->target);

        test_assert_connected(client, target);
}

static void rename_target(Target *t, const char *prefix) {
        char *name = g_strconcat(prefix, t->name, NULL);

        g_free(t->name);
        t->name = name;
}

TEST("a port is one of this host") {
        static const char *const addresses[] = { "127.0.0.1", "::1" };

        for (size_t i = 0; i < ELEMENTS(addresses); i++) {
                Relayed r = relay_start(f, target_new_at(addresses[i]), NULL);

                assert_relays(&r);
                relay_end(&r);
        }
}

TEST("a Unix socket is written with and without \"unix:\"") {
        for (int abstract = 0; abstract <= 1; abstract++) {
                Target t = target_new_unix(abstract, 16);
                Relayed r;

                rename_target(&t, "unix:");
                r = relay_start(f, t, NULL);
                assert_relays(&r);
                relay_end(&r);
        }
}

TEST("targets that cannot be understood") {
        static const struct {
                const char *target, *says[2];
        } cases[] = {
                { "http://localhost:3000/x",
                  { "\"http://localhost:3000/x\" is a URL", "; write \"localhost:3000\"." } },
                { "http://localhost", { "; write \"localhost:80\"." } },
                { "https://example.org/x:1", { "; write \"example.org:443\"." } },
                { "HTTP://[::1]/", { "; write \"[::1]:80\"." } },
                { "https://[::1]:8443", { "; write \"[::1]:8443\"." } },
                { "tcp://localhost:5432", { "; write \"localhost:5432\"." } },
                { "tcp://localhost", { "; write \"localhost:PORT\"." } },
                { "http://", { "; write \"HOST:80\"." } },
                { "localhost", { "\"localhost\" is not a target", "HOST:PORT, [ADDRESS]:PORT, the PORT" } },
                { "", { "\"\" is not a target" } },
                { "unix:", { "\"unix:\" is not a target" } },
                { "65536", { "\"65536\" is not a target" } },
                { " 80", { "\" 80\" is not a target" } },
                { ":80", { "\":80\" is not a target" } },
                { "localhost:80/x", { "Unknown TCP service \"80/x\"" } },
                { "0", { "The target \"0\" has port 0", "write another port" } },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                tool_assert_fails(tool_run(f->bus, "relay", "0", cases[i].target), 1, cases[i].says[0],
                                  cases[i].says[1]);
}

TEST("a path that does not exist yet") {
        g_autofree char *directory = test_make_directory("later"),
                        *path = g_build_filename(directory, "socket", NULL);
        g_autofree char *line = g_strdup_printf(
                        "The target \"%s\" does not exist yet; until a server creates it, "
                        "connections are reset.\n",
                        path);
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        Relayed r = { .target = { .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) } };

        r.tool = serving_start(f->bus, &r.port, WORDS("relay", "0", path));
        g_assert_true(tool_has_complained(r.tool, line));

        _cleanup_close_ int early = test_connect_start(NULL, "127.0.0.1", r.port);
        g_assert_cmpint(test_wait_end(early), ==, ECONNRESET);

        (void) g_strlcpy(un.sun_path, path, sizeof(un.sun_path));
        g_assert_no_errno(bind(r.target.fd, (const struct sockaddr *) &un, sizeof(un)));
        g_assert_no_errno(listen(r.target.fd, 16));
        assert_relays(&r);
        relay_end(&r);
}

/* With it, root may write to all files. */
static void drop_capability(void *data) {
        (void) prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
}

TEST("a socket that the user may not write to") {
        Target t = target_new_unix(false, 16);
        g_autofree char *line = g_strdup_printf(
                                        "The target \"%s\" does not let this user connect; until its owner "
                                        "gives write permission, connections are reset.\n",
                                        t.name),
                        *later = g_strdup_printf(
                                        "Failed to connect to %s: Permission denied; this user needs write "
                                        "permission.\n",
                                        t.name);
        Relayed r;

        g_assert_no_errno(chmod(t.name, 0555));
        tool_set_up_with(drop_capability);
        r = relay_start(f, t, NULL);
        tool_set_up_with(NULL);
        g_assert_true(tool_has_complained(r.tool, line));
        _cleanup_close_ int client = test_connect_start(NULL, "127.0.0.1", r.port);
        g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        test_wait_for(tool_has_complained(r.tool, later));

        g_assert_no_errno(chmod(t.name, 0755));
        assert_relays(&r);
        relay_end(&r);
}

TEST("paths that are no sockets") {
        g_autofree char *directory = test_make_directory("no-socket"),
                        *file = g_build_filename(directory, "file", NULL);
        g_autofree char *below = g_build_filename(file, "socket", NULL);

        g_assert_true(g_file_set_contents(file, "", 0, NULL));
        tool_assert_fails(tool_run(f->bus, "relay", "0", directory), 1, directory, "\" is not a Unix socket");
        tool_assert_fails(tool_run(f->bus, "relay", "0", file), 1, file, "\" is not a Unix socket");
        tool_assert_fails(tool_run(f->bus, "relay", "0", below), 1, "Failed to look at the target", below,
                          "Not a directory");
}

/* -------------------------------------------------------------------------------------- the relay itself */

TEST("the own port of the relay is no target") {
        g_autofree char *port = g_strdup_printf("%u", test_free_port());
        static const char *const prefixes[] = {
                "",         "127.0.0.1:", "127.0.0.2:", "[::1]:",
                "0.0.0.0:", "[::]:",      "localhost:", "[::ffff:127.0.0.1]:"
        };
        static const char *const bound[] = { "", "127.0.0.1:", "[::1]:" };

        for (size_t i = 0; i < ELEMENTS(prefixes); i++) {
                g_autofree char *target = g_strconcat(prefixes[i], port, NULL);

                tool_assert_fails(tool_run(f->bus, "relay", port, target), 1, target,
                                  "\" is the port that the relay itself listens on; write the port");
        }
        for (size_t i = 1; i < ELEMENTS(bound); i++) {
                g_autofree char *address = g_strconcat(bound[i], port, NULL);

                tool_assert_fails(tool_run(f->bus, "relay", address, address), 1, "the relay itself");
        }
        g_assert_false(test_is_listening(getpid(), (uint16_t) atoi(port)));
}

static Tool *start_at(Fixture *f, const char *address, uint16_t port, const char *target) {
        g_autofree char *endpoint = g_strdup_printf("%s:%u", address, port);
        uint16_t same;
        Tool *tool = serving_start(f->bus, &same, WORDS("relay", endpoint, target, "--max-connections=8"));

        g_assert_cmpuint(same, ==, port);
        return tool;
}

TEST("the same port of another address is not the relay itself") {
        Relayed r = { .target = target_new_at("127.0.0.1") };

        r.port = test_local_port(r.target.fd);
        r.tool = start_at(f, "[::1]", r.port, r.target.name);
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_close_ int client = test_connect("::1", r.port), target = target_accept(&r.target);

                test_assert_connected(client, target);
        }
        r.target.fd = close_fd(r.target.fd);
        relay_end(&r);
}

static Tool *start_to_itself(Fixture *f, const char *port, const char *delivery) {
        g_autofree char *target = g_strconcat("127.0.0.1:", port, NULL);
        uint16_t same;

        return serving_start(f->bus, &same, WORDS("relay", port, target, delivery));
}

TEST("a listener for IPv6 only is not reached by IPv4") {
        Relayed r = { .target = target_new_at("127.0.0.1") };
        g_autofree char *target = g_strconcat("127.0.0.1:", r.target.name, NULL);

        r.tool = serving_start(f->bus, &r.port, WORDS("relay", r.target.name, target, "--ipv6-only"));
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_close_ int client = test_connect("::1", r.port), accepted = target_accept(&r.target);

                test_assert_connected(client, accepted);
        }
        r.target.fd = close_fd(r.target.fd);
        relay_end(&r);
}

/* The addresses of a channel are known when a connection arrives. */
TEST("the relay itself, by channel") {
        g_autofree char *port = g_strdup_printf("%u", test_free_port());
        g_autoptr(Tool) tool = start_to_itself(f, port, "--delivery=channel");
        g_autofree char *line = g_strdup_printf(
                        "The target \"127.0.0.1:%s\" is the port that the relay itself "
                        "listens on; connections to it are reset.",
                        port);
        static const char *const addresses[] = { "127.0.0.1", "::1" };

        for (unsigned i = 0; i < 4; i++) {
                _cleanup_close_ int client = test_connect_start(NULL, addresses[i % 2],
                                                                (uint16_t) atoi(port));

                g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        }
        test_wait_for(serving_count_complaints(tool, line) > 0);
        g_assert_cmpuint(serving_count_complaints(tool, line), ==, 1);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

static void leave_network(void *data) {
        if (unshare(CLONE_NEWNET) < 0)
                _exit(99);
}

TEST_IF(test_require_root(), "the same address in another network namespace") {
        g_autofree char *port = g_strdup_printf("%u", test_free_port());

        tool_set_up_with(leave_network);
        g_autoptr(Tool) by_socket = start_to_itself(f, port, "--delivery=socket");
        g_assert_cmpint(serving_end(by_socket, SIGTERM), ==, 128 + SIGTERM);

        g_autoptr(Tool) by_channel = start_to_itself(f, port, "--delivery=channel");
        tool_set_up_with(NULL);
        _cleanup_close_ int client = test_connect_start(NULL, "127.0.0.1", (uint16_t) atoi(port));
        g_assert_cmpint(test_wait_end(client), ==, ECONNRESET);
        test_wait_for(tool_has_complained(by_channel, "Failed to connect to "));
        g_assert_cmpint(serving_end(by_channel, SIGTERM), ==, 128 + SIGTERM);
}

TEST("two relays that lead to each other stop at their limit, and say so") {
        uint16_t a = test_free_port(), b = test_free_port();
        g_autofree char *to_a = g_strdup_printf("127.0.0.1:%u", a),
                        *to_b = g_strdup_printf("127.0.0.1:%u", b);
        g_autofree char *line = g_strdup_printf(
                        "All 8 connections (--max-connections=) are in use, others have to wait; "
                        "the last one comes from this host: does the target \"%s\" lead "
                        "back to this relay?",
                        to_b);
        g_autoptr(Tool) first = start_at(f, "127.0.0.1", a, to_b), second = start_at(f, "127.0.0.1", b, to_a);
        _cleanup_close_ G_GNUC_UNUSED int client = test_connect("127.0.0.1", a);

        test_wait_for(serving_count_complaints(first, line) > 0);
        g_assert_cmpuint(serving_count_complaints(first, line), ==, 1);
        g_assert_cmpint(serving_end(first, SIGTERM), ==, 128 + SIGTERM);
        g_assert_cmpint(serving_end(second, SIGTERM), ==, 128 + SIGTERM);
}
