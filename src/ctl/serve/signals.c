/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <signal.h>
#include <sys/prctl.h>

#include "base/macros.h"
#include "ctl/serve/signals.h"

/* All signals that other processes send on purpose; not those for faults of the program itself. */
static bool is_forwarded(int signal_number) {
        static const int others[] = {
                SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,   SIGUSR2, SIGALRM, SIGCONT,  SIGTSTP,
                SIGTTIN, SIGTTOU, SIGURG,  SIGIO,   SIGVTALRM, SIGPROF, SIGPWR,  SIGWINCH,
        };

        for (size_t i = 0; i < ELEMENTS(others); i++)
                if (signal_number == others[i])
                        return true;

        return signal_number >= SIGRTMIN && signal_number <= SIGRTMAX;
}

int signals_add(sd_event *event, sd_event_signal_handler_t handler, void *userdata) {
        struct sigaction action;
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;

        for (int i = 1; i <= SIGRTMAX; i++) {
                /* signalfd(2) reports a blocked signal even if it is ignored. */
                if (!is_forwarded(i) || (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN))
                        continue;

                (void) sigemptyset(&mask);
                (void) sigaddset(&mask, i);
                if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                        return -errno;
                r = sd_event_add_signal(event, NULL, i, handler, userdata);
                if (r < 0)
                        return r;
        }

        return 0;
}

bool signal_ends_server(int signal_number) {
        return signal_number == SIGINT || signal_number == SIGQUIT || signal_number == SIGTERM;
}

bool signal_ends(int signal_number) {
        return signal_number == SIGHUP || signal_ends_server(signal_number);
}

void signal_forward(const struct signalfd_siginfo *info, pid_t pid) {
        if (info->ssi_code == SI_KERNEL && getpgid(pid) == getpgrp())
                return;

        (void) kill(pid, (int) info->ssi_signo);
}

void signal_stop(const struct signalfd_siginfo *info) {
        int number = (int) info->ssi_signo;
        bool by_terminal = info->ssi_code == SI_KERNEL;
        sigset_t mask;

        /* SIGTTIN and SIGTTOU stop a job only if the terminal sent them. */
        if (number != SIGTSTP && !(by_terminal && (number == SIGTTIN || number == SIGTTOU)))
                return;

        /* Not SIGSTOP: the kernel ignores SIGTSTP for an orphaned process group, which the tool must follow.
         */
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, number);
        (void) raise(number);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
}

_Noreturn void signal_end_self(int signal_number) {
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t mask;

        /* A core dump of the tool would be of no use. */
        (void) prctl(PR_SET_DUMPABLE, 0);
        (void) sigaction(signal_number, &action, NULL);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, signal_number);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        (void) raise(signal_number);
        _exit(128 + signal_number);
}
