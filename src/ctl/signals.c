/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <signal.h>
#include <sys/resource.h>

#include "base/macros.h"
#include "ctl/signals.h"

static const int forwarded[] = {
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP, SIGCONT,
};

int signals_add(sd_event *event, sd_event_signal_handler_t handler, void *userdata) {
        struct sigaction action;
        sigset_t mask;
        int r;

        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;

        for (size_t i = 0; i < ELEMENTS(forwarded); i++) {
                /* Blocked, even an ignored one would be reported. */
                if (sigaction(forwarded[i], NULL, &action) == 0 && action.sa_handler == SIG_IGN)
                        continue;

                (void) sigemptyset(&mask);
                (void) sigaddset(&mask, forwarded[i]);
                if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                        return -errno;
                r = sd_event_add_signal(event, NULL, forwarded[i], handler, userdata);
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

void signal_stop_self(void) {
        sigset_t mask;

        /* Not SIGSTOP: where the kernel lets nobody be stopped from a terminal, it shall not be this one
         * alone. */
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGTSTP);
        (void) raise(SIGTSTP);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);
}

_Noreturn void signal_end_self(int signal_number) {
        struct sigaction action = { .sa_handler = SIG_DFL };
        struct rlimit no_core = {};
        sigset_t mask;

        (void) setrlimit(RLIMIT_CORE, &no_core);
        (void) sigaction(signal_number, &action, NULL);
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, signal_number);
        (void) sigprocmask(SIG_UNBLOCK, &mask, NULL);
        (void) raise(signal_number);
        _exit(128 + signal_number);
}
