/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-login.h>

#include "base/descriptors.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/service/agent.h"

static pid_t agent; /* 0: there is none */

/* In the child. The agent uses the terminal, wherever the output of the tool goes. */
static _Noreturn void run_agent(int notify, pid_t parent) {
        char number[16], *session;
        sigset_t none;
        int terminal;

        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) signal(SIGPIPE, SIG_DFL);
        descriptors_restore_limit();

        if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
                _exit(EXIT_FAILURE);

        terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
        if (terminal < 0 || dup2(terminal, STDIN_FILENO) < 0 || dup2(terminal, STDOUT_FILENO) < 0 ||
            dup2(terminal, STDERR_FILENO) < 0)
                _exit(EXIT_FAILURE);

        (void) fcntl(notify, F_SETFD, 0);
        (void) snprintf(number, sizeof(number), "%i", notify);
        /* In a session, an agent that is registered already, such as the desktop's, goes first. Without a
         * session there is none, and polkit accepts no fallback. */
        execlp("pkttyagent", "pkttyagent", "--notify-fd", number,
               sd_pid_get_session(0, &session) >= 0 ? "--fallback" : NULL, (char *) NULL);
        _exit(EXIT_FAILURE);
}

int agent_open(void) {
        _cleanup_close_ int ready = -EBADF, notify = -EBADF;
        pid_t pid, parent = getpid();
        struct pollfd p;
        int ends[2];

        if (agent > 0 || geteuid() == 0 || !isatty(STDIN_FILENO))
                return 0;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return message_error(-errno, _("Failed to start the agent that asks for passwords: %s."),
                                     strerror(errno));
        ready = ends[0];
        notify = ends[1];

        (void) fflush(NULL);
        pid = fork();
        if (pid < 0)
                return message_error(-errno, _("Failed to start the agent that asks for passwords: %s."),
                                     strerror(errno));
        if (pid == 0)
                run_agent(notify, parent);

        /* The agent closes its end once it is registered, or when it ends. */
        (void) close_fd(notify);
        p = (struct pollfd) { .fd = ready, .events = POLLIN };
        while (poll(&p, 1, -1) < 0 && errno == EINTR)
                ;

        agent = pid;
        return 0;
}

void agent_close(void) {
        pid_t pid = TAKE(agent, 0);

        /* An agent that has ended may have been waited for with the processes of COMMAND: then another
         * process can have its ID. */
        if (pid == 0 || waitpid(pid, NULL, WNOHANG) != 0)
                return;

        (void) kill(pid, SIGTERM);
        (void) kill(pid, SIGCONT);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}
