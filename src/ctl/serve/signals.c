/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <signal.h>
#include <sys/prctl.h>

#include "base/macros.h"
#include "ctl/serve/signals.h"

/* All by which somebody may tell a program something; not those that tell it of its own faults. */
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
                /* Blocked, even an ignored one would be reported. */
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

bool signal_ends(int signal_number) {
        return signal_number == SIGHUP || signal_number == SIGINT || signal_number == SIGQUIT ||
               signal_number == SIGTERM;
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

        /* Of the other two, a program that gets them from somebody else makes what it likes. */
        if (number != SIGTSTP && !(by_terminal && (number == SIGTTIN || number == SIGTTOU)))
                return;

        /* Not SIGSTOP: where the kernel lets nobody be stopped from a terminal, it shall not be this one
         * alone. */
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, number);
        (void) raise(number);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
}

_Noreturn void signal_end_self(int signal_number) {
        struct sigaction action = { .sa_handler = SIG_DFL };
        sigset_t mask;

        /* There is nothing to be found in a core. */
        (void) prctl(PR_SET_DUMPABLE, 0);
        (void) sigaction(signal_number, &action, NULL);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, signal_number);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        (void) raise(signal_number);
        _exit(128 + signal_number);
}
