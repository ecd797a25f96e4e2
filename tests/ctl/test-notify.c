/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tool and a service manager that waits for messages, as for a unit with Type=notify. */

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "ctl/serving.h"

/* The manager takes messages of the process that it has started, as with NotifyAccess=main. */
typedef struct Manager {
        int socket;
        char *path;
        char *variable; /* NOTIFY_SOCKET=… */
        pid_t main;     /* 0: none yet */
        GString *heard; /* the messages, each in <> */
        int fd;         /* of the last message that had one, or -EBADF */
} Manager;

static void hear(Manager *m) {
        char text[4096], control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];

        for (;;) {
                struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
                struct msghdr message = {
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control,
                        .msg_controllen = sizeof(control),
                };
                ssize_t n = recvmsg(m->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                struct ucred sender = {};

                if (n < 0)
                        return;
                for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                        if (c->cmsg_type == SCM_CREDENTIALS)
                                memcpy(&sender, CMSG_DATA(c), sizeof(sender));
                        else {
                                close_fd(m->fd);
                                memcpy(&m->fd, CMSG_DATA(c), sizeof(m->fd));
                        }
                g_assert_true(m->main == 0 || sender.pid == m->main);
                g_string_append_printf(m->heard, "<%.*s>", (int) n, text);
        }
}

static bool has_heard(Manager *m, const char *text) {
        hear(m);
        return strstr(m->heard->str, text);
}

static Manager *manager_new(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        g_autofree char *directory = test_make_directory("manager");
        Manager *m = g_new0(Manager, 1);
        int one = 1;

        m->fd = -EBADF;
        m->heard = g_string_new(NULL);
        m->path = g_build_filename(directory, "notify", NULL);
        m->variable = g_strdup_printf("NOTIFY_SOCKET=%s", m->path);
        g_assert_cmpuint(g_strlcpy(address.sun_path, m->path, sizeof(address.sun_path)), <,
                         sizeof(address.sun_path));
        m->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        g_assert_no_errno(m->socket);
        g_assert_no_errno(setsockopt(m->socket, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
        g_assert_no_errno(bind(m->socket, (struct sockaddr *) &address, sizeof(address)));
        return m;
}

static void manager_free(Manager *m) {
        close_fd(m->socket);
        close_fd(m->fd);
        g_string_free(m->heard, true);
        g_free(m->path);
        g_free(m->variable);
        g_free(m);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Manager, manager_free)

/* Prefixes of Python programs. */
#define SEND                                                                  \
        "import os, socket, signal, sys\n"                                    \
        "def connect():\n"                                                    \
        "    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"          \
        "    s.connect(os.environ['NOTIFY_SOCKET'].replace('@', '\\0', 1))\n" \
        "    return s\n"                                                      \
        "def send(text):\n"                                                   \
        "    connect().send(text.encode())\n"

static Tool *start(Fixture *f, Manager *m, const char *const *argv) {
        Tool *tool = tool_start(f->bus, WORDS(m->variable), 0, argv);

        m->main = tool->child->pid;
        return tool;
}

TEST("each verb that serves is ready, and stops") {
        static const char *const commands[][7] = {
                { "listen", "127.0.0.1:0", "--", "sleep", "1000" },
                { "listen", "--accept", "127.0.0.1:0", "--", "cat" },
                { "listen", "--inetd", "127.0.0.1:0", "--", "cat" },
                { "listen", "--inetd", "--wait", "127.0.0.1:0", "--", "cat" },
                { "relay", "127.0.0.1:0", "127.0.0.1:9" },
        };

        for (size_t i = 0; i < ELEMENTS(commands); i++) {
                g_autoptr(Manager) m = manager_new();
                g_autoptr(Tool) tool = start(f, m, commands[i]);

                test_wait_for(has_heard(m, "<READY=1>"));
                g_assert_nonnull(strstr(m->heard->str, "<STATUS=Listening on 127.0.0.1:"));
                g_assert_cmpint(serving_end(tool, SIGTERM), ==, 128 + SIGTERM);
                g_assert_true(has_heard(m, "<STOPPING=1>"));
        }
}

TEST("the status has all addresses") {
        g_autoptr(Manager) m = manager_new();
        uint16_t port = test_free_port();
        g_autofree char *ipv4 = g_strdup_printf("127.0.0.1:%u", port),
                        *ipv6 = g_strdup_printf("[::1]:%u", port),
                        *status = g_strdup_printf("<STATUS=Listening on %s, %s>", ipv4, ipv6);
        g_autoptr(Tool) tool = start(f, m, WORDS("listen", ipv4, ipv6, "--", "sleep", "1000"));

        test_wait_for(has_heard(m, "<READY=1>"));
        g_assert_nonnull(strstr(m->heard->str, status));
}

TEST("run is ready when the command has bound a port") {
        /* It binds the port itself, or the tool gets it from the service. */
        for (unsigned i = 0; i < 2; i++) {
                uint16_t port = test_free_port();
                g_autofree char *number = g_strdup_printf("%u", port),
                                *option = g_strdup_printf("--port=%u", port);
                g_autoptr(Manager) m = manager_new();
                g_autoptr(Tool) tool = start(
                                f, m,
                                WORDS("run", i == 0 ? "--quiet" : option, "--", "python3", "-c",
                                      "import signal, socket, sys\n"
                                      "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
                                      "client = socket.socket()\n"
                                      "client.bind(('', 0))\n"
                                      "print('before', flush=True)\n"
                                      "signal.sigwait([signal.SIGUSR1])\n"
                                      "s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
                                      "signal.pause()\n",
                                      number));

                test_wait_for(tool_has_written(tool, "before\n"));
                g_assert_false(has_heard(m, "READY"));
                test_child_signal(tool->child, SIGUSR1);
                test_wait_for(has_heard(m, "<READY=1>"));
                g_assert_cmpuint(strstr(m->heard->str, number) != NULL, ==, i);
        }
}

TEST("run is ready after five seconds at the latest") {
        g_autoptr(Manager) m = manager_new();
        g_autoptr(Tool) tool = start(f, m, WORDS("run", "sleep", "1000"));

        test_wait_for(has_heard(m, "<READY=1>"));
}

/* They come from the tool, and do not change the main process. */
TEST("messages of the command are passed on") {
        g_autoptr(Manager) m = manager_new();
        g_autoptr(Tool) tool = start(f, m,
                                     WORDS("listen", "0", "--", "python3", "-c",
                                           SEND "send('READY=1\\nSTATUS=first\\nMAINPID=%d' % os.getpid())\n"
                                                "send('MAINPID=1')\n"
                                                "send('FDSTORE=1\\nFDNAME=a')\n"
                                                "send('RELOADING=1\\nMONOTONIC_USEC=7\\n')\n"
                                                "send('X_OWN=1\\0')\n"
                                                "if os.fork() == 0:\n"
                                                "    send('EXTEND_TIMEOUT_USEC=5')\n"
                                                "    os._exit(0)\n"
                                                "os.wait()\n"
                                                "a, b = os.pipe()\n"
                                                "socket.send_fds(connect(), [b'BARRIER=1'], [b])\n"
                                                "os.close(b)\n"
                                                "os.read(a, 1)\n"
                                                "send('STATUS=last')\n"
                                                "signal.pause()\n"));

        test_wait_for(has_heard(m, "<BARRIER=1>"));
        g_assert_nonnull(strstr(m->heard->str, "<READY=1\nSTATUS=first><RELOADING=1\nMONOTONIC_USEC=7>"
                                               "<EXTEND_TIMEOUT_USEC=5><BARRIER=1>"));
        /* The command waits until the manager closes the descriptor. */
        g_assert_false(has_heard(m, "last"));
        m->fd = close_fd(m->fd);
        test_wait_for(has_heard(m, "<STATUS=last>"));
}

/* The unit goes on. */
TEST("a command that is started again does not stop the unit") {
        g_autoptr(Manager) m = manager_new();
        g_autoptr(Tool) tool = start(f, m,
                                     WORDS("listen", "--restart", "0", "--", "python3", "-c",
                                           SEND "send('STOPPING=1\\nSTATUS=bye')\n"));

        test_wait_for(has_heard(m, "<STATUS=bye><STATUS=Listening on "));
        g_assert_false(has_heard(m, "STOPPING"));
}

TEST("a command without a manager has no socket") {
        static const char script[] = "echo ${NOTIFY_SOCKET-none} ${WATCHDOG_PID-none} ${WATCHDOG_USEC-none}";
        g_autoptr(ToolResult)
                        alone = tool_run_full(f->bus, WORDS("WATCHDOG_USEC=1000000", "WATCHDOG_PID=1"), 0,
                                              WORDS("listen", "--quiet", "0", "--", "sh", "-c", script));

        g_assert_cmpstr(alone->out, ==, "none none none\n");

        /* The tool itself does not pass on messages of many commands. */
        g_autoptr(Manager) m = manager_new();
        uint16_t port = test_free_port();
        g_autofree char *text = g_strdup_printf("%u", port);
        g_autoptr(Tool) tool = start(f, m, WORDS("listen", "--inetd", text, "--", "sh", "-c", script));
        test_wait_for(has_heard(m, "<READY=1>"));
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        test_expect(peer, "none none none\n");
}

static unsigned count_heard(Manager *m, const char *text) {
        unsigned n = 0;

        hear(m);
        for (const char *s = m->heard->str; (s = strstr(s, text)); s++)
                n++;
        return n;
}

/* WATCHDOG_PID is the process that the manager has started. */
static TestChild *start_watched(Fixture *f, Manager *m, const char *log, const char *arguments) {
        g_autofree char *script = g_strdup_printf(
                        "export NOTIFY_SOCKET=%s WATCHDOG_USEC=20000 WATCHDOG_PID=$$; exec \"$TEST_CTL\" %s",
                        m->path, arguments);
        TestChild *child = tool_spawn(f->bus, log, WORDS("sh", "-c", script));

        m->main = child->pid;
        return child;
}

TEST("the tool sends keep-alives") {
        static const char *const commands[] = {
                "listen 0 -- sleep 1000",
                "listen --inetd 0 -- cat",
                "relay 0 127.0.0.1:9",
        };
        g_autofree char *directory = test_make_directory("watched"),
                        *log = g_build_filename(directory, "log", NULL);

        for (size_t i = 0; i < ELEMENTS(commands); i++) {
                g_autoptr(Manager) m = manager_new();
                g_autoptr(TestChild) child = start_watched(f, m, log, commands[i]);

                test_wait_for(count_heard(m, "<WATCHDOG=1>") > 3);
                test_child_signal(child, SIGTERM);
                g_assert_cmpint(test_child_wait(child), ==, 128 + SIGTERM);
        }
}

/* The tool would hide that the command hangs. */
TEST("the tool sends none beside those of the command") {
        g_autofree char *directory = test_make_directory("watched"),
                        *log = g_build_filename(directory, "log", NULL),
                        *program = g_build_filename(directory, "program", NULL);
        g_assert_true(g_file_set_contents(program,
                                          SEND "assert os.environ['WATCHDOG_PID'] == str(os.getpid())\n"
                                               "assert os.environ['WATCHDOG_USEC'] == '20000'\n"
                                               "send('WATCHDOG=1\\nSTATUS=mine')\n"
                                               "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
                                               "for n in range(10):\n"
                                               "    signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
                                               "    signal.sigwait([signal.SIGALRM])\n"
                                               "send('STATUS=end')\n"
                                               "signal.pause()\n",
                                          -1, NULL));
        g_autofree char *arguments = g_strdup_printf("listen 0 -- python3 %s", program);
        g_autoptr(Manager) m = manager_new();
        g_autoptr(TestChild) child = start_watched(f, m, log, arguments);

        test_wait_for(has_heard(m, "<STATUS=end>"));
        g_assert_nonnull(strstr(m->heard->str, "<WATCHDOG=1\nSTATUS=mine><STATUS=end>"));
        test_child_signal(child, SIGTERM);
        g_assert_cmpint(test_child_wait(child), ==, 128 + SIGTERM);
}

static void become_other(void *data) {
        uid_t uid = test_other_uid(0);

        g_assert_no_errno(setuid(uid));
}

/* The socket is in the abstract namespace, which has no permissions. */
TEST_IF(test_require_root(), "messages of other users are not passed on") {
        g_autoptr(Manager) m = manager_new();
        g_autoptr(Tool) tool = start(
                        f, m, WORDS("listen", "0", "--", "sh", "-c", "echo $NOTIFY_SOCKET; exec sleep 1000"));
        test_wait_for(tool_has_written(tool, "\n"));
        g_autofree char *name = test_read_file(tool->out);
        name[strcspn(name, "\n")] = '\0';
        g_autofree char *variable = g_strdup_printf("NOTIFY_SOCKET=%s", name);

        for (unsigned i = 0; i < 2; i++) {
                g_autoptr(TestChild) sender = test_child_new(
                                WORDS("python3", "-c", SEND "send('STATUS=' + sys.argv[1])\n",
                                      i == 0 ? "forged" : "known"),
                                &(TestSpawn) {
                                                .environment = WORDS(variable),
                                                .setup = i == 0 ? become_other : NULL,
                                });
                g_assert_cmpint(test_child_wait(sender), ==, 0);
        }
        test_wait_for(has_heard(m, "<STATUS=known>"));
        g_assert_false(has_heard(m, "forged"));
}
