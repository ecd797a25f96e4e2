/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Part of the tool only in a build for coverage: the tool often ends by a signal or by _exit(), when gcov
 * does not write its data itself.
 */

#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);

int raise(int number) {
        __gcov_dump();
        __gcov_reset(); /* the signal may be blocked or ignored */
        return kill(getpid(), number);
}

_Noreturn void _exit(int status) {
        __gcov_dump();
        for (;;)
                (void) syscall(SYS_exit_group, status);
}

/* By the very signal that it was sent, as without this. */
static void on_signal(int number) {
        (void) raise(number);
}

__attribute__((constructor)) static void watch_signals(void) {
        static const int signals[] = { SIGHUP, SIGINT, SIGPIPE, SIGTERM };
        const struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER };
        struct sigaction before;

        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
                if (sigaction(signals[i], NULL, &before) >= 0 && before.sa_handler == SIG_DFL)
                        (void) sigaction(signals[i], &action, NULL);
}
