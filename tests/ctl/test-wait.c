/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "listen --inetd --wait": a COMMAND that accepts connections itself, one at a time. */

#include "ctl/serving.h"

/* Accepts two connections, and sends each of them its process and what it sees. */
#define ACCEPT_TWO                                                                              \
        "import os, socket\n"                                                                   \
        "listener = socket.socket(fileno=0)\n"                                                  \
        "seen = [os.path.sameopenfile(0, 1), os.path.sameopenfile(0, 2), os.get_blocking(0),\n" \
        "        'LISTEN_FDS' in os.environ, 'REMOTE_ADDR' in os.environ]\n"                    \
        "os.set_blocking(0, True)\n"                                                            \
        "for i in range(2):\n"                                                                  \
        "    connection, peer = listener.accept()\n"                                            \
        "    connection.sendall(b'%s %010d' % (str(seen).encode(), os.getpid()))\n"             \
        "    connection.close()\n"                                                              \
        "os.set_blocking(0, False)\n"

/* Returns the process that has served the peer. */
static pid_t read_process(int peer) {
        static const char seen[] = "[True, False, True, False, False] ";
        char number[11] = "";

        test_expect(peer, seen);
        test_receive(peer, number, 10);
        g_assert_cmpint(test_wait_end(peer), ==, 0);
        return (pid_t) atoi(number);
}

TEST("one command at a time accepts connections, and the next one after its end") {
        pid_t processes[5];
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", "--wait", "--verbose", "0", "--",
                                                   "python3", "-c", ACCEPT_TWO));

        g_assert_cmpuint(serving_count_children(tool->child->pid), ==, 0);
        for (size_t i = 0; i < ELEMENTS(processes); i++) {
                _cleanup_close_ int peer = test_connect(i == 1 ? "127.0.0.1" : "::1", port);

                processes[i] = read_process(peer);
                g_assert_cmpuint(serving_count_children(tool->child->pid), <=, 1);
        }
        g_assert_cmpint(processes[0], ==, processes[1]);
        g_assert_cmpint(processes[1], !=, processes[2]);
        g_assert_cmpint(processes[2], ==, processes[3]);
        g_assert_cmpint(processes[3], !=, processes[4]);

        g_autofree char *started = g_strdup_printf("Process %d of COMMAND started for port %u.\n",
                                                   (int) processes[0], port),
                        *ended = g_strdup_printf(
                                        "Process %d of COMMAND for port %u ended with status 0 after ",
                                        (int) processes[0], port);
        g_assert_true(tool_has_complained(tool, started));
        g_assert_true(tool_has_complained(tool, ended));
        g_assert_false(tool_has_complained(tool, "still wait"));
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, port));
}

TEST("each port has a command") {
        g_autofree char *second = g_strdup_printf("127.0.0.1:%u", test_free_port());
        uint16_t ports[2];

        ports[1] = (uint16_t) atoi(strchr(second, ':') + 1);
        g_autoptr(Tool) tool = serving_start(f->bus, &ports[0],
                                             WORDS("listen", "--inetd", "--wait", "127.0.0.1:0", second, "--",
                                                   "python3", "-c", ACCEPT_TWO));
        test_wait_for(tool_has_complained(tool, second));
        _cleanup_close_ int a = test_connect("127.0.0.1", ports[0]), b = test_connect("127.0.0.1", ports[1]);
        g_assert_cmpint(read_process(a), !=, read_process(b));
        g_assert_cmpuint(serving_count_children(tool->child->pid), ==, 2);
        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
}

TEST("a command that does not accept connections") {
        g_autofree char *still = NULL, *failed = NULL;
        uint16_t port;
        g_autoptr(Tool) idle = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", "--wait", "0", "--", "true"));
        _cleanup_close_ int peer = test_connect("::1", port);

        still = g_strdup_printf("COMMAND ends, but connections still wait at port %u; with --wait", port);
        test_wait_for(tool_has_complained(idle, still));
        g_assert_false(tool_has_complained(idle, "failed"));
        g_assert_cmpint(serving_end(idle, SIGINT), ==, 128 + SIGINT);

        g_autoptr(Tool) failing = serving_start(f->bus, &port,
                                                WORDS("listen", "--inetd", "--wait", "0", "--", "false"));
        _cleanup_close_ int other = test_connect("::1", port);
        failed = g_strdup_printf("COMMAND for port %u failed with status 1.\n", port);
        test_wait_for(tool_has_complained(failing, failed));
        g_assert_cmpint(serving_end(failing, SIGTERM), ==, 128 + SIGTERM);
}

/* It gets the signal, and the tool waits for it; but the port is free at once. */
TEST("ends with its command") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                             WORDS("listen", "--inetd", "--wait", "0", "--", "python3", "-c",
                                                   "import signal, socket\n"
                                                   "c, peer = socket.socket(fileno=0).accept()\n"
                                                   "def on_signal(number, frame):\n"
                                                   "    c.sendall(b'told\\n')\n"
                                                   "    c.recv(1)\n"
                                                   "    exit(3)\n"
                                                   "signal.signal(signal.SIGTERM, on_signal)\n"
                                                   "c.sendall(b'ready\\n')\n"
                                                   "while True: signal.pause()\n"));
        _cleanup_close_ int peer = test_connect("::1", port);

        test_expect(peer, "ready\n");
        test_child_signal(tool->child, SIGTERM);
        test_expect(peer, "told\n");
        g_assert_false(test_child_has_exited(tool->child));
        test_send(peer, "\n", 1);
        g_assert_cmpint(test_child_wait(tool->child), ==, 128 + SIGTERM);
        g_assert_true(tool->child->by_signal);
        g_assert_false(tool_has_complained(tool, "failed"));
}

TEST("killed, it takes its command along") {
        uint16_t port;
        g_autoptr(Tool) tool = serving_start(
                        f->bus, &port, WORDS("listen", "--inetd", "--wait", "0", "--", "sleep", "1000"));
        _cleanup_close_ int peer = test_connect("::1", port);

        test_wait_for(serving_count_children(tool->child->pid) == 1);
        g_assert_cmpint(serving_end(tool, SIGKILL), ==, 128 + SIGKILL);
        test_wait_for(!test_service_is_listening(f->service, port));
        (void) test_wait_end(peer);
}

TEST_IF(test_require_root(), "closed by an administrator") {
        static const char *const commands[] = { "sleep", "true" };

        for (size_t i = 0; i < ELEMENTS(commands); i++) {
                uint16_t port;
                g_autoptr(Tool) tool = serving_start(f->bus, &port,
                                                     WORDS("listen", "--inetd", "--wait", "--name=echo", "0",
                                                           "--", commands[i], "1000"));
                _cleanup_close_ int peer = test_connect("::1", port);

                test_wait_for(i > 0 || serving_count_children(tool->child->pid) == 1);
                tool_do(f->bus, "close", "echo");
                g_assert_cmpint(test_child_wait(tool->child), ==, 1);
                g_assert_true(tool_has_complained(tool, "is lost: an administrator has closed it."));
                g_assert_false(test_service_is_listening(f->service, port));
        }
}

TEST("options that --wait excludes") {
        tool_assert_fails(tool_run(f->bus, "listen", "--wait", "0", "--", "true"), 1,
                          "Option --wait needs --inetd.");
        tool_assert_fails(tool_run(f->bus, "listen", "--accept", "--wait", "0", "--", "true"), 1,
                          "Option --wait needs --inetd.");
        tool_assert_fails(tool_run(f->bus, "listen", "--inetd", "--wait", "--max-connections=3", "0", "--",
                                   "true"),
                          1,
                          "so --max-connections= is not possible; use --accept, or --inetd without --wait.");
        tool_assert_fails(tool_run(f->bus, "listen", "--inetd", "--wait", "--delivery=channel", "0", "--",
                                   "true"),
                          1, "--delivery= can only be \"socket\"");
}
