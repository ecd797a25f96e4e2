/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* "run": unmodified servers, which bind privileged ports themselves. The tool and its servers are root
 * without CAP_NET_BIND_SERVICE, so that the kernel refuses the ports to them, but not to the service. */

#include <sys/prctl.h>
#include <sys/syscall.h>

#include "ctl/serving.h"

/* The beginning of the programs. serve(s) accepts for ever, and sends text to each peer. */
#define PYTHON                                                            \
        "import errno, fcntl, os, signal, socket, sys, threading, time\n" \
        "from socket import *\n"                                          \
        "def tcp(address, port, family=AF_INET, reuse=False):\n"          \
        "    s = socket(family, SOCK_STREAM)\n"                           \
        "    if reuse: s.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)\n"       \
        "    s.bind((address, port))\n"                                   \
        "    s.listen()\n"                                                \
        "    return s\n"                                                  \
        "def error(call, *arguments, **options):\n"                       \
        "    try: call(*arguments, **options)\n"                          \
        "    except OSError as e: return errno.errorcode[e.errno]\n"      \
        "    return 'none'\n"                                             \
        "def serve(s, text=b'hello'):\n"                                  \
        "    os.write(1, b'ready\\n')\n"                                  \
        "    while True:\n"                                               \
        "        c, peer = s.accept()\n"                                  \
        "        c.sendall(text)\n"                                       \
        "        c.close()\n"

static void drop_capabilities(void *data) {
        if (prctl(PR_CAPBSET_DROP, 10 /* CAP_NET_BIND_SERVICE */, 0, 0, 0) < 0 ||
            prctl(PR_CAPBSET_DROP, 19 /* CAP_SYS_PTRACE */, 0, 0, 0) < 0)
                _exit(126);
}

static void set_up(Fixture *f, const void *data) {
        fixture_set_up(f, data);
        tool_set_up_with(drop_capabilities);
}

static void tear_down(Fixture *f, const void *data) {
        tool_set_up_with(NULL);
        fixture_tear_down(f, data);
}

/* Root has a network of its own, in which no other process uses port 80. */
#define RUN_TEST(sentence) \
        TEST_OF_IF(test_require_private_network(), sentence, Fixture, f, set_up, tear_down, NULL)

#define RUN_TEST_IF(condition, sentence)                                                                   \
        TEST_OF_IF(test_require_private_network() && (condition), sentence, Fixture, f, set_up, tear_down, \
                   NULL)

static Tool *start(Fixture *f, const char *program) {
        Tool *tool = tool_start(f->bus, NULL, 0, WORDS("run", "python3", "-c", program));

        test_wait_for(tool_has_written(tool, "ready\n") || test_child_has_exited(tool->child));
        g_assert_true(tool_has_written(tool, "ready\n"));
        return tool;
}

static void assert_answers(const char *address, uint16_t port, const char *text) {
        _cleanup_close_ int peer = test_connect(address, port);

        test_expect(peer, text);
        g_assert_cmpint(test_wait_end(peer), ==, 0);
}

/* Ends by itself, and writes that. */
static void assert_writes(Fixture *f, const char *program, const char *out) {
        g_autoptr(ToolResult) result = tool_run(f->bus, "run", "--quiet", "python3", "-c", program);

        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpstr(result->out, ==, out);
        g_assert_cmpint(result->status, ==, 0);
}

RUN_TEST("a server binds a privileged port, and its peers reach it") {
        g_autoptr(Tool) tool = start(f, PYTHON "serve(tcp('::', 80, AF_INET6))\n");

        g_assert_true(tool_has_complained(tool, "Listening on [::]:80.\n"));
        g_autoptr(ToolResult) list = tool_run(f->bus, "--no-legend", "list");
        g_assert_nonnull(strstr(list->out, " python3 "));
        for (unsigned i = 0; i < 3; i++) {
                assert_answers("127.0.0.1", 80, "hello");
                assert_answers("::1", 80, "hello");
        }

        g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
        g_assert_false(test_service_is_listening(f->service, 80));
}

RUN_TEST("IPv4 and IPv6 have a socket each, and several ports one each") {
        g_autoptr(Tool) tool = start(f,
                                     PYTHON "six = socket(AF_INET6, SOCK_STREAM)\n"
                                            "six.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)\n"
                                            "six.bind(('::', 80)); six.listen()\n"
                                            "for s, text in ((tcp('0.0.0.0', 80), b'four'), (six, b'six'),\n"
                                            "                (tcp('127.0.0.1', 81), b'other')):\n"
                                            "    threading.Thread(target=serve, args=(s, text)).start()\n");

        assert_answers("127.0.0.1", 80, "four");
        assert_answers("::1", 80, "six");
        assert_answers("127.0.0.1", 81, "other");
}

RUN_TEST("other sockets are bound as without the tool") {
        g_autofree char *directory = g_dir_make_tmp("run-XXXXXX", NULL),
                        *program = g_strdup_printf(
                                        PYTHON
                                        "s = socket(AF_UNIX); s.bind('%s/socket')\n"
                                        "socket(AF_INET, SOCK_DGRAM).bind(('127.0.0.1', 0))\n"
                                        "print(error(socket(AF_INET, SOCK_DGRAM).bind, ('127.0.0.1', 53)))\n"
                                        "print(error(socket().bind, ('203.0.113.9', 80)))\n"
                                        "a = tcp('127.0.0.1', 0)\n"
                                        "print(error(tcp, '127.0.0.1', a.getsockname()[1]))\n"
                                        "b = tcp('127.0.0.1', 8080)\n"
                                        "os.system('$TEST_CTL --no-legend list')\n",
                                        directory);

        assert_writes(f, program, "EACCES\nEADDRNOTAVAIL\nEADDRINUSE\n");
        test_run_command("rm", "-r", directory);
}

RUN_TEST("a port that was named comes from the service, although the kernel allows it") {
        g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0,
                                          WORDS("run", "--port=9,8079-8080", "--port=8081", "python3", "-c",
                                                PYTHON "serve(tcp('127.0.0.1', 8080))\n"));

        test_wait_for(tool_has_written(tool, "ready\n"));
        g_assert_true(tool_has_complained(tool, "Listening on 127.0.0.1:8080.\n"));
        assert_answers("127.0.0.1", 8080, "hello");
}

RUN_TEST("the socket has the options, the flags and the family of the program's own") {
        assert_writes(f,
                      PYTHON
                      "s = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK)\n"
                      "s.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1)\n"
                      "s.setsockopt(SOL_SOCKET, SO_RCVBUF, 12345)\n"
                      "s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)\n"
                      "s.setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, 77)\n"
                      "s.setsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT, 3)\n"
                      "s.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)\n"
                      "def look():\n"
                      "    return (s.getsockopt(SOL_SOCKET, SO_KEEPALIVE), s.getsockopt(SOL_SOCKET, SO_RCVBUF),\n"
                      "            s.getsockopt(SOL_SOCKET, SO_SNDBUF), s.getsockopt(IPPROTO_TCP, TCP_NODELAY),\n"
                      "            s.getsockopt(IPPROTO_TCP, TCP_KEEPIDLE), s.getsockopt(IPPROTO_TCP, TCP_DEFER_ACCEPT),\n"
                      "            s.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY), s.getsockopt(SOL_SOCKET, SO_DOMAIN),\n"
                      "            fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK, fcntl.fcntl(s, fcntl.F_GETFD))\n"
                      "before = look()\n"
                      "s.bind(('::', 80))\n"
                      "s.listen(7)\n"
                      "print(look() == before or (before, look()), s.getsockname())\n"
                      "t = socket(); os.set_inheritable(t.fileno(), True); t.bind(('127.0.0.1', 81))\n"
                      "print(t.getblocking(), fcntl.fcntl(t, fcntl.F_GETFD), s.getsockopt(IPPROTO_TCP, TCP_NODELAY))\n",
                      "True ('::', 80, 0, 0)\nTrue 0 1\n");
}

RUN_TEST("a port is in use until its last socket is closed, and then can be bound again") {
        assert_writes(f,
                      PYTHON "s = tcp('127.0.0.1', 80)\n"
                             "print(error(tcp, '127.0.0.1', 80))\n"
                             "if os.fork() == 0:\n"
                             "    print(error(tcp, '127.0.0.1', 80), flush=True)\n"
                             "    os._exit(0)\n"
                             "os.wait()\n"
                             "s.close()\n"
                             "for i in range(300): tcp('127.0.0.1', 80).close()\n"
                             "if os.fork() == 0:\n"
                             "    print(error(tcp, '127.0.0.1', 80), flush=True)\n"
                             "    os._exit(0)\n"
                             "os.wait()\n"
                             "print(error(tcp, '127.0.0.1', 80))\n",
                      "EADDRINUSE\nEADDRINUSE\nnone\nnone\n");
}

/* It is bound already; but a bind() that a signal has interrupted too late is repeated. */
RUN_TEST("a socket is bound once") {
        assert_writes(f,
                      PYTHON "s, t = tcp('127.0.0.1', 8082), tcp('127.0.0.1', 80)\n"
                             "print(error(s.bind, ('127.0.0.1', 80)))\n"
                             "print(error(t.bind, ('127.0.0.1', 80)))\n"
                             "print(error(t.bind, ('127.0.0.1', 81)), t.getsockname())\n",
                      "EINVAL\nnone\nEINVAL ('127.0.0.1', 80)\n");
}

RUN_TEST("workers share a port with SO_REUSEPORT") {
        g_autoptr(Tool) tool = start(
                        f, PYTHON
                        "for i in range(3):\n"
                        "    if os.fork() == 0: serve(tcp('::', 80, AF_INET6, reuse=True), b'%d' % i)\n"
                        "os.wait()\n");
        bool seen[3] = {};

        test_wait_for(serving_count_lines(tool, "ready") == 3);
        /* Each worker that sleeps in accept() gets a connection in turn. */
        for (unsigned i = 0; i < 1000 && !(seen[0] && seen[1] && seen[2]); i++) {
                _cleanup_close_ int peer = test_connect(i % 2 == 0 ? "::1" : "127.0.0.1", 80);
                char c;

                test_receive(peer, &c, 1);
                seen[c - '0'] = true;
        }
        g_assert_true(seen[0] && seen[1] && seen[2]);
}

RUN_TEST("threads bind, too, and many at once") {
        assert_writes(f,
                      PYTHON
                      "found = []\n"
                      "def work(port): found.append(error(tcp, '127.0.0.1', port, reuse=True))\n"
                      "threads = [threading.Thread(target=work, args=(80 + i % 4,)) for i in range(40)]\n"
                      "for t in threads: t.start()\n"
                      "for t in threads: t.join()\n"
                      "print(found.count('none'))\n",
                      "40\n");
}

/* Its handler makes bind() start again. */
RUN_TEST("a signal that interrupts bind() leaves nothing behind") {
        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        g_autoptr(Tool) tool = tool_start(f->bus, NULL, 0,
                                          WORDS("run", "python3", "-c",
                                                PYTHON "signal.signal(signal.SIGALRM, lambda *unused: None)\n"
                                                       "signal.siginterrupt(signal.SIGALRM, False)\n"
                                                       "signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)\n"
                                                       "serve(tcp('127.0.0.1', 80))\n"));

        test_wait_for(serving_count_rests(tool->child->pid) >= 200);
        g_assert_cmpuint(test_count_fds(tool->child->pid), <, 50);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
        test_wait_for(tool_has_written(tool, "ready\n"));
        assert_answers("127.0.0.1", 80, "hello");
}

RUN_TEST("errors of the service are errors of bind(), and told once") {
        _cleanup_close_ int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons(80),
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

        g_assert_no_errno(setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int)));
        g_assert_no_errno(bind(other, (struct sockaddr *) &address, sizeof(address)));
        g_assert_no_errno(listen(other, 1));

        g_autoptr(ToolResult)
                        result = tool_run(f->bus, "run", "python3", "-c",
                                          PYTHON "for i in range(5): print(error(tcp, '127.0.0.1', 80))\n"
                                                 "print(error(tcp, '127.0.0.1', 81))\n"
                                                 "print(error(tcp, '2001:db8::9', 82, AF_INET6))\n");
        g_assert_cmpstr(result->out, ==,
                        "EADDRINUSE\nEADDRINUSE\nEADDRINUSE\nEADDRINUSE\nEADDRINUSE\nnone\nEADDRNOTAVAIL\n");
        g_auto(GStrv) lines = g_strsplit(result->err, "\n", -1);
        g_assert_cmpuint(g_strv_length(lines), ==, 4);
        g_assert_nonnull(strstr(lines[0], "Failed to listen on port 80"));
        g_assert_cmpstr(lines[1], ==, "Listening on 127.0.0.1:81.");
}

/* Without a service, the port cannot be had. */
RUN_TEST("without a service, bind() fails with EACCES") {
        test_service_free(TAKE_PTR(f->service));

        g_autoptr(ToolResult) result = tool_run(f->bus, "run", "python3", "-c",
                                                PYTHON "print(error(tcp, '127.0.0.1', 80))\n");
        g_assert_cmpstr(result->out, ==, "EACCES\n");
        g_assert_nonnull(strstr(result->err, "The service is not on the bus"));
}

RUN_TEST("a port that the server has closed refuses its peers") {
        g_autoptr(Tool) tool = start(f, PYTHON "tcp('127.0.0.1', 80).close()\n"
                                               "s = tcp('127.0.0.1', 81)\n"
                                               "serve(s)\n");

        /* The first one has to wait until the tool has looked. */
        _cleanup_close_ int peer = test_connect("127.0.0.1", 80);
        g_assert_cmpint(test_wait_end(peer), ==, ECONNRESET);
        g_assert_cmpint(test_connect_fails("127.0.0.1", 80), ==, ECONNREFUSED);
        assert_answers("127.0.0.1", 81, "hello");
}

/* Peers of hesitate(s) have to wait until SIGUSR1 arrives. */
#define HESITATE                                                              \
        PYTHON "import ctypes\n"                                              \
               "c = ctypes.CDLL(None)\n"                                      \
               "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n" \
               "def hesitate(s):\n"                                           \
               "    os.write(1, b'ready\\n')\n"                               \
               "    signal.sigwait([signal.SIGUSR1])\n"                       \
               "    serve(s)\n"

static void assert_keeps_its_port(Fixture *f, const char *program) {
        g_autoptr(Tool) tool = start(f, program);
        _cleanup_close_ int peer = test_connect("127.0.0.1", 80);
        unsigned rests = serving_count_rests(tool->child->pid);

        /* It has looked twice. */
        test_wait_for(serving_count_rests(tool->child->pid) >= rests + 4);
        test_child_signal(tool->child, SIGUSR1);
        test_expect(peer, "hello");
        assert_answers("127.0.0.1", 80, "hello");
}

RUN_TEST("a busy server keeps its port") {
        assert_keeps_its_port(f, HESITATE "hesitate(tcp('127.0.0.1', 80))\n");
}

/* The tool cannot see its descriptors. */
RUN_TEST("a busy server that no debugger can attach to keeps its port") {
        assert_keeps_its_port(f, HESITATE "s = tcp('127.0.0.1', 80); c.prctl(4, 0); hesitate(s)\n");
}

/* PIDFD_THREAD, since Linux 6.9. */
static bool has_pidfds_of_threads(void) {
        _cleanup_close_ int fd = (int) syscall(SYS_pidfd_open, getpid(), O_EXCL);

        if (fd < 0)
                g_test_skip("needs Linux 6.9");
        return fd >= 0;
}

/* unshare(CLONE_FILES) gives the thread a table of its own. The first thread ends by pthread_exit(3). */
RUN_TEST_IF(has_pidfds_of_threads(), "a thread with descriptors of its own keeps its port") {
        assert_keeps_its_port(f, HESITATE
                              "first = threading.get_native_id()\n"
                              "def work():\n"
                              "    c.unshare(0x400)\n"
                              "    while open(f'/proc/self/task/{first}/stat').read().split()[2] != 'Z':\n"
                              "        os.sched_yield()\n"
                              "    hesitate(tcp('127.0.0.1', 80))\n"
                              "threading.Thread(target=work).start()\n"
                              "c.pthread_exit(None)\n");
}

RUN_TEST("a server that does not accept is told") {
        g_autoptr(Tool) tool = start(f, PYTHON "s = socket()\n"
                                               "s.bind(('127.0.0.1', 80))\n"
                                               "s.listen()\n"
                                               "os.write(1, b'ready\\n')\n"
                                               "time.sleep(1000)\n");
        _cleanup_close_ int peer = test_connect("127.0.0.1", 80);

        test_wait_for(tool_has_complained(tool,
                                          "COMMAND does not accept on port 80; see UNMODIFIED SERVERS"));
}

RUN_TEST("with --persistent, peers wait for the next server") {
        static const char *const command[] = { "run",
                                               "--persistent",
                                               "python3",
                                               "-c",
                                               PYTHON "s = tcp('127.0.0.1', 80)\n"
                                                      "os.write(1, b'ready\\n')\n"
                                                      "c, peer = s.accept()\n"
                                                      "c.sendall(b'hello')\n",
                                               NULL };
        _cleanup_close_ int waiting = -EBADF;

        for (unsigned i = 0; i < 3; i++) {
                Tool *tool = tool_start(f->bus, NULL, 0, command);
                test_wait_for(tool_has_written(tool, "ready\n"));
                if (waiting < 0)
                        waiting = test_connect("127.0.0.1", 80);
                test_expect(waiting, "hello");
                (void) close_fd(waiting);
                g_autoptr(ToolResult) result = tool_finish(tool);
                g_assert_cmpint(result->status, ==, 0);

                g_assert_true(test_service_is_listening(f->service, 80));
                waiting = test_connect("127.0.0.1", 80);
        }
}

/* It looks at most once a second, which takes it two wake-ups, but /proc can make it wait for many locks. */
RUN_TEST("the tool sleeps while connections come") {
        g_autoptr(Tool) tool = start(f, PYTHON "serve(tcp('127.0.0.1', 80))\n");
        int64_t started = g_get_monotonic_time();

        assert_answers("127.0.0.1", 80, "hello");
        unsigned rests = serving_count_rests(tool->child->pid);
        for (unsigned i = 0; i < 500; i++)
                assert_answers("127.0.0.1", 80, "hello");
        rests = serving_count_rests(tool->child->pid) - rests;
        g_assert_cmpint(rests, <=, 250 + 2 * (g_get_monotonic_time() - started) / G_USEC_PER_SEC);
}

RUN_TEST("when the listener is closed, the server ends") {
        Tool *tool = start(f, PYTHON "serve(tcp('127.0.0.1', 80))\n");

        tool_do(f->bus, "close", "1");
        g_autoptr(ToolResult) result = tool_finish(tool);
        g_assert_cmpint(result->status, ==, 1);
        g_assert_nonnull(strstr(result->err, "Port 80 is lost: an administrator has closed it."));
}

RUN_TEST("another network namespace has ports of its own") {
        g_autoptr(ToolResult)
                        result = tool_run(f->bus, "run", "unshare", "--user", "--map-root-user", "--net",
                                          "python3", "-c", PYTHON "print(error(tcp, '0.0.0.0', 80))\n");

        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpstr(result->out, ==, "none\n");
}

RUN_TEST("passes on the arguments and the exit status") {
        g_autoptr(ToolResult)
                        a = tool_run(f->bus, "run", "sh", "-c", "echo $0 $LISTEN_FDS; exit 7", "--quiet");
        g_autoptr(ToolResult) b = tool_run(f->bus, "run", "--", "sh", "-c", "kill -9 $$");

        g_assert_cmpstr(a->out, ==, "--quiet\n");
        g_assert_cmpint(a->status, ==, 7);
        g_assert_cmpint(b->status, ==, 128 + SIGKILL);
        tool_assert_fails(tool_run(f->bus, "run", "/nonexistent"), 127, "no such program");
        tool_assert_fails(tool_run(f->bus, "run"), 1, "Missing command to run");
        tool_assert_fails(tool_run(f->bus, "run", "--port=70000", "true"), 1,
                          "--port= cannot be \"70000\"; it must be a port from 1 to 65535");
        tool_assert_fails(tool_run(f->bus, "run", "--port=0", "true"), 1, "--port= cannot be \"0\"");
        tool_assert_fails(tool_run(f->bus, "run", "--port=90-80", "true"), 1,
                          "a range such as \"8080-8082\"");
        tool_assert_fails(tool_run(f->bus, "run", "--accept", "true"), 1,
                          "--accept is not for the verb \"run\"");
}

RUN_TEST("says what it lacks") {
        tool_assert_fails(tool_run(f->bus, "run", g_getenv("TEST_CTL"), "run", "true"), 126,
                          "another program does it already");

        serving_forbid(SYS_seccomp, ENOSYS);
        tool_assert_fails(tool_run(f->bus, "run", "true"), 1, "no user notification of seccomp");
}

/* As of ssh-agent(1): no debugger can attach to it. */
RUN_TEST("a process that cannot be examined is told") {
        g_autoptr(ToolResult) result = tool_run(f->bus, "run", "setpriv", "--bounding-set=-sys_ptrace",
                                                "python3", "-c",
                                                PYTHON "import ctypes\n"
                                                       "ctypes.CDLL(None).prctl(4, 0)\n"
                                                       "print(error(tcp, '127.0.0.1', 80))\n");

        g_assert_cmpstr(result->out, ==, "EACCES\n");
        g_assert_nonnull(strstr(result->err, "Failed to read the bind() of process "));
}

/* Statically linked: no library could be preloaded. */
RUN_TEST("a static program binds, too") {
        g_autoptr(ToolResult) result = tool_run(f->bus, "run", "--quiet", g_getenv("TEST_CTL_ANSWER"), "80");

        g_assert_cmpstr(result->err, ==, "");
        g_assert_cmpstr(result->out, ==, "80\n");
}
