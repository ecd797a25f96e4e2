/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/linger.h"

#define TICK_USEC 10000

/* The timer stays on from linger_limit_begin() until the first tick after linger_limit_end(), because setting
 * it for each close() would cost two system calls. */
static bool has_handler;
static volatile sig_atomic_t ticking;
static volatile sig_atomic_t closing;

static void set_ticks(suseconds_t usec) {
        (void) setitimer(ITIMER_REAL,
                         &(struct itimerval) { .it_interval.tv_usec = usec, .it_value.tv_usec = usec }, NULL);
}

static void on_tick(int number) {
        int saved = errno;

        if (!closing) {
                set_ticks(0);
                ticking = 0;
        }
        errno = saved;
}

int linger_init(void) {
        struct sigaction action = { .sa_handler = on_tick, .sa_flags = SA_RESTART };

        if (sigaction(SIGALRM, &action, NULL) < 0)
                return -errno;

        has_handler = true;
        return 0;
}

void linger_disable(int fd) {
        struct linger linger = {};
        socklen_t size = sizeof(linger);

        /* With a time of 0, close() does not block: it resets the connection, which is left to the client. */
        if (getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) < 0 || !linger.l_onoff ||
            linger.l_linger == 0)
                return;

        linger.l_onoff = 0;
        (void) setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void linger_limit_end(void) {
        closing = 0;
}

void linger_limit_begin(void) {
        if (!has_handler)
                return;

        closing = 1;
        if (ticking)
                return;

        ticking = 1;
        set_ticks(TICK_USEC);
}
