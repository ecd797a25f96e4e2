/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/process.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"

#define LISTEN_FD 3

/* Where the low half of an argument is, in bytes. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOW_HALF 0
#else
#define LOW_HALF 4
#endif

static int set_filter(struct sock_filter *instructions, size_t n, unsigned flags) {
        const struct sock_fprog program = { .len = (unsigned short) n, .filter = instructions };

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;

        int r = (int) syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
        return r < 0 ? -errno : r;
}

int test_filter_call(int call, unsigned action, unsigned flags) {
        struct sock_filter instructions[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#ifdef SYS_socketcall
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned) call, 3, 0),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketcall, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + LOW_HALF),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call == SYS_accept4 ? SYS_ACCEPT4 : 0, 0, 1),
#else
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned) call, 0, 1),
#endif
                BPF_STMT(BPF_RET | BPF_K, action),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        return set_filter(instructions, ELEMENTS(instructions), flags);
}

int test_filter_socket(int family) {
        struct sock_filter instructions[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + LOW_HALF),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned) family, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        return set_filter(instructions, ELEMENTS(instructions), 0);
}

bool test_can_filter_socket(void) {
#ifdef SYS_socketcall
        g_test_skip("needs an architecture without socketcall(2)");
        return false;
#else
        return true;
#endif
}

/* Variables of a service manager that are meant for the runner of the test. */
static const char *const manager_variables[] = {
        "NOTIFY_SOCKET",  "JOURNAL_STREAM", "INVOCATION_ID", "LISTEN_FDS",       "LISTEN_PID",
        "LISTEN_FDNAMES", "WATCHDOG_USEC",  "WATCHDOG_PID",  "SYSTEMD_EXEC_PID", NULL
};

static char **set_variables(char **environment, const char *const *variables) {
        for (; variables && *variables; variables++) {
                g_auto(GStrv) pair = g_strsplit(*variables, "=", 2);

                if (pair[1])
                        environment = g_environ_setenv(environment, pair[0], pair[1], true);
                else
                        environment = g_environ_unsetenv(environment, pair[0]);
        }
        return environment;
}

/* Before fork(): another thread of the test may hold a lock of GLib or of malloc(), for ever in the child. */
static char **make_environment(const TestSpawn *options) {
        char **environment = set_variables(g_get_environ(), manager_variables);

        environment = set_variables(environment, options->environment);
        if (options->listen_fd > 0)
                environment = set_variables(environment, WORDS("LISTEN_FDS=1", TEST_LISTEN_PID));
        return environment;
}

static void write_listen_pid(char **environment) {
        for (; *environment; environment++)
                if (streq(*environment, TEST_LISTEN_PID))
                        g_snprintf(*environment, sizeof(TEST_LISTEN_PID), "LISTEN_PID=%d", (int) getpid());
}

static void pass_listen_fd(int fd) {
        /* dup2() onto itself would keep the flag. */
        if (fd == LISTEN_FD)
                g_assert_no_errno(fcntl(fd, F_SETFD, 0));
        else
                g_assert_no_errno(dup2(fd, LISTEN_FD));
}

static void child_main(const char *const *argv, const TestSpawn *options, char **environment) {
        sigset_t none;
        int out = STDERR_FILENO;

        /* The parent of the test may ignore some, as a shell does for what it has in the background. A failed
         * assertion on this side of exec() is for the parent to show, and a SIGTERM just ends it. */
        for (int i = 1; i < NSIG; i++)
                (void) signal(i, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);

        if (options->log) {
                out = open(options->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
                g_assert_no_errno(out);
                g_assert_no_errno(dup2(out, STDERR_FILENO));
        }
        /* Standard output is the test's own, for TAP. */
        g_assert_no_errno(dup2(out, STDOUT_FILENO));

        write_listen_pid(environment);
        environ = environment;
        if (options->listen_fd > 0)
                pass_listen_fd(options->listen_fd);
        if (options->setup)
                options->setup(options->data);

        /* After the set-up: a change of credentials clears it. */
        g_assert_no_errno(prctl(PR_SET_PDEATHSIG, SIGKILL));
        execvp(argv[0], (char *const *) argv);
        fprintf(stderr, "cannot execute %s: %s\n", argv[0], g_strerror(errno));
        _exit(127);
}

TestChild *test_child_new(const char *const *argv, const TestSpawn *options) {
        static const TestSpawn none;
        TestChild *child = g_new0(TestChild, 1);
        g_auto(GStrv) environment = make_environment(options ?: &none);

        /* exec() or _exit() must not find output in buffers of stdio, which would be written twice. */
        fflush(NULL);
        child->pid = fork();
        g_assert_no_errno(child->pid);
        if (child->pid == 0)
                child_main(argv, options ?: &none, environment);

        child->pidfd = (int) syscall(SYS_pidfd_open, child->pid, 0);
        g_assert_no_errno(child->pidfd);
        return child;
}

static void reap(TestChild *child, int flags) {
        int status;
        pid_t pid;

        if (child->pid == 0)
                return;
        pid = waitpid(child->pid, &status, flags);
        g_assert_no_errno(pid);
        if (pid == 0)
                return;
        child->pid = 0;
        child->by_signal = WIFSIGNALED(status);
        child->status = child->by_signal ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void test_child_free(TestChild *child) {
        if (!child)
                return;
        test_child_signal(child, SIGKILL);
        reap(child, 0);
        close_fd(child->pidfd);
        g_free(child);
}

bool test_child_has_exited(TestChild *child) {
        reap(child, WNOHANG);
        return child->pid == 0;
}

void test_child_signal(TestChild *child, int signal_number) {
        if (!test_child_has_exited(child))
                g_assert_no_errno(kill(child->pid, signal_number));
}

int test_child_wait(TestChild *child) {
        if (!test_child_has_exited(child)) {
                (void) test_wait_fd(child->pidfd, POLLIN);
                reap(child, 0);
        }
        return child->status;
}

char *test_read_file(const char *path) {
        g_autoptr(GError) error = NULL;
        char *content = NULL;

        (void) g_file_get_contents(path, &content, NULL, &error);
        g_assert_no_error(error);
        return content;
}

bool test_file_contains(const char *path, const char *text) {
        g_autofree char *content = NULL;

        return g_file_get_contents(path, &content, NULL, NULL) && strstr(content, text);
}

static void enter_netns(void *data) {
        g_assert_no_errno(setns(*(int *) data, CLONE_NEWNET));
}

int test_run_command_in(int netns, const char *const *argv) {
        TestSpawn options = { .setup = netns >= 0 ? enter_netns : NULL, .data = &netns };
        TestChild *child = test_child_new(argv, &options);
        int status;

        reap(child, 0);
        status = child->status;
        test_child_free(child);
        return status;
}

void test_run_words(const char *const *argv) {
        if (test_run_command_in(-1, argv) != 0) {
                g_autofree char *line = g_strjoinv(" ", (char **) argv);

                g_error("this command failed: %s", line);
        }
}
