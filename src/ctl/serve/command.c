/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/address.h"
#include "base/descriptors.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/command.h"
#include "ctl/serve/signals.h"

/* The first one of sd_listen_fds(). */
#define LISTEN_FDS_START 3

void command_init(Command *c, char **argv, char *const *environment) {
        struct sigaction ignore = { .sa_handler = SIG_IGN }, plain = { .sa_handler = SIG_DFL };

        *c = (Command) { .argv = argv, .environment = environment };
        (void) sigprocmask(SIG_BLOCK, NULL, &c->mask);
        (void) sigaction(SIGPIPE, &ignore, &c->pipe);
        (void) sigaction(SIGCHLD, &plain, &c->child);
        descriptors_raise_limit();
}

static const char *get_path(const Command *c) {
        const char *path = getenv("PATH");

        for (char *const *e = c->environment; e && *e; e++)
                if (strncmp(*e, "PATH=", strlen("PATH=")) == 0)
                        path = *e + strlen("PATH=");

        return path ?: "/bin:/usr/bin";
}

/* Searches PATH as execvp() does, but ignores directories that the user may not search, as shells do: then it
 * reports ENOENT, not EACCES. */
static int find_program(const Command *c) {
        const char *name = c->argv[0];
        _cleanup_free_ char *path = NULL;
        char *directory, *rest, *file;
        int found = -ENOENT, r;

        if (strchr(name, '/'))
                return access(name, X_OK) < 0 ? -errno : 0;

        path = strdup(get_path(c));
        if (!path)
                return -ENOMEM;

        /* An empty entry is the working directory. */
        for (rest = path; (directory = strsep(&rest, ":"));) {
                if (asprintf(&file, "%s%s%s", directory, *directory ? "/" : "", name) < 0)
                        return -ENOMEM;
                r = access(file, X_OK) < 0 ? -errno : 0;
                if (r == -EACCES && access(file, F_OK) == 0)
                        found = -EACCES;
                free(file);
                if (r == 0)
                        return 0;
        }

        return found;
}

static int cannot_run(const char *name, int error) {
        if (error == ENOENT || error == ENOTDIR) {
                (void) message_error(-error, _("Failed to execute \"%s\": no such program."), name);
                return EXIT_NOT_FOUND;
        }

        (void) message_error(-error, _("Failed to execute \"%s\": %s."), name, strerror(error));
        return EXIT_CANNOT_RUN;
}

int command_check(const Command *c) {
        int r;

        r = find_program(c);
        return r < 0 ? cannot_run(c->argv[0], -r) : 0;
}

static int set_number(const char *variable, unsigned long number) {
        char text[3 * sizeof(number) + 1];

        (void) snprintf(text, sizeof(text), "%lu", number);
        return setenv(variable, text, true) < 0 ? -errno : 0;
}

static int set_address(const Address *a,
                       const char *address,
                       const char *port,
                       const char *ucspi_address,
                       const char *ucspi_port) {
        char text[ADDRESS_STRING_MAX];
        int r;

        (void) address_format(a, text);
        if (setenv(address, text, true) < 0 || setenv(ucspi_address, text, true) < 0)
                return -errno;

        r = set_number(port, address_get_port(a));
        return r < 0 ? r : set_number(ucspi_port, address_get_port(a));
}

/* The variables of systemd and of UCSPI. */
static int set_connection(const CommandInput *input) {
        int r;

        /* Names are not looked up: those that the tool has inherited are of another connection. */
        (void) unsetenv("REMOTE_HOST");
        (void) unsetenv("TCPREMOTEHOST");
        (void) unsetenv("TCPREMOTEINFO");
        (void) unsetenv("TCPLOCALHOST");

        if (setenv("PROTO", "TCP", true) < 0)
                return -errno;
        r = set_address(input->remote, "REMOTE_ADDR", "REMOTE_PORT", "TCPREMOTEIP", "TCPREMOTEPORT");
        return r < 0 ? r
                     : set_address(input->local, "LOCAL_ADDR", "LOCAL_PORT", "TCPLOCALIP", "TCPLOCALPORT");
}

/* The variable WATCHDOG_PID is for the process that systemd has started. */
static int set_notification(const CommandInput *input, pid_t tool) {
        const char *watched = getenv("WATCHDOG_PID");
        bool is_tool = watched && strtol(watched, NULL, 10) == tool;

        if (!input->notify_socket)
                (void) unsetenv("NOTIFY_SOCKET");
        else if (setenv("NOTIFY_SOCKET", input->notify_socket, true) < 0)
                return -errno;

        if (input->notify_socket && is_tool)
                return set_number("WATCHDOG_PID", (unsigned long) getpid());
        if (!input->notify_socket || watched) {
                (void) unsetenv("WATCHDOG_PID");
                (void) unsetenv("WATCHDOG_USEC");
        }
        return 0;
}

static int set_environment(const Command *c, const CommandInput *input, pid_t tool) {
        int r = 0;

        (void) unsetenv("LISTEN_FDS");
        (void) unsetenv("LISTEN_PID");
        (void) unsetenv("LISTEN_PIDFDID");
        (void) unsetenv("LISTEN_FDNAMES");

        if (!input->inetd && input->n_fds > 0) {
                r = set_number("LISTEN_FDS", input->n_fds);
                if (r == 0)
                        r = set_number("LISTEN_PID", (unsigned long) getpid());
                if (r == 0 && setenv("LISTEN_FDNAMES", input->names, true) < 0)
                        r = -errno;
        }
        if (r == 0)
                r = set_notification(input, tool);
        if (r == 0 && input->remote)
                r = set_connection(input);
        for (char *const *e = c->environment; r == 0 && e && *e; e++)
                if (putenv(*e) != 0)
                        r = -errno;
        return r;
}

/* The originals are close-on-exec. */
static int pass_descriptors(const CommandInput *input) {
        _cleanup_free_ int *fds = NULL;

        if (input->inetd)
                return dup2(input->fds[0], STDIN_FILENO) < 0 || dup2(input->fds[0], STDOUT_FILENO) < 0
                                       ? -errno
                                       : 0;

        if (input->n_fds == 0)
                return 0;

        fds = calloc(input->n_fds, sizeof(*fds));
        if (!fds)
                return -ENOMEM;

        /* First above the range of the targets, so that dup2() below closes none that is still needed. */
        for (size_t i = 0; i < input->n_fds; i++) {
                fds[i] = fcntl(input->fds[i], F_DUPFD_CLOEXEC, LISTEN_FDS_START + (int) input->n_fds);
                if (fds[i] < 0)
                        return -errno;
        }
        for (size_t i = 0; i < input->n_fds; i++)
                if (dup2(fds[i], LISTEN_FDS_START + (int) i) < 0)
                        return -errno;
        return 0;
}

static int close_standard_input(void) {
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        return fd < 0 || dup2(fd, STDIN_FILENO) < 0 ? -errno : 0;
}

static int prepare_child(const Command *c, const CommandInput *input, pid_t tool) {
        int r;

        if (c->own_group && setpgid(0, 0) < 0)
                return -errno;
        r = pass_descriptors(input);
        if (r < 0)
                return r;
        if (!input->inetd && !input->keeps_input) {
                r = close_standard_input();
                if (r < 0)
                        return r;
        }
        r = set_environment(c, input, tool);
        if (r < 0)
                return r;

        if (input->ends_with_tool) {
                if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0)
                        return -errno;
                if (getppid() != tool)
                        return -ESRCH;
        }
        return 0;
}

static void run_child(const Command *c, const CommandInput *input, pid_t tool) {
        int r;

        r = prepare_child(c, input, tool);
        if (r == 0) {
                descriptors_restore_limit();
                (void) sigaction(SIGPIPE, &c->pipe, NULL);
                (void) sigaction(SIGCHLD, &c->child, NULL);
                (void) sigprocmask(SIG_SETMASK, &c->mask, NULL);
                if (input->prepare)
                        r = input->prepare(input->userdata);
        }
        if (r == 0) {
                (void) execvp(c->argv[0], c->argv);
                r = -errno;
        }

        _exit(cannot_run(c->argv[0], -r));
}

int command_start(const Command *c, const CommandInput *input, pid_t *ret) {
        pid_t tool = getpid(), pid;

        assert(!input->inetd || input->n_fds == 1);
        assert(!input->remote == !input->local);

        /* The child inherits the buffers of stdio, and would write them again. */
        (void) fflush(NULL);

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_child(c, input, tool);

        /* A signal may come before the child process does the same. */
        if (c->own_group)
                (void) setpgid(pid, pid);
        *ret = pid;
        return 0;
}

void command_print_wait(pid_t pid, int signal_number) {
        message_info(_("Process %d has not ended after SIG%s; Ctrl+C or \"kill -INT %d\" kills it, see "
                       "--kill-after=."),
                     pid, sigabbrev_np(signal_number), getpid());
}

void command_kill(const Command *c, pid_t pid, int signal_number) {
        (void) kill(c->own_group ? -pid : pid, signal_number);
}

void command_forward(const Command *c, pid_t pid, const struct signalfd_siginfo *info) {
        if (c->own_group)
                (void) kill(-pid, (int) info->ssi_signo);
        else
                signal_forward(info, pid);
}
