/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A library that is loaded into the service in front of the C library, and shifts its wall clock as the test
 * requests. The kernel cannot give a process a wall clock of its own, and that of the host must not change.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bus/wall-clock.h"

#define PUBLIC __attribute__((visibility("default")))

#ifndef SYS_clock_gettime64
#define SYS_clock_gettime64 SYS_clock_gettime
#endif

static WallClock *shared;

__attribute__((constructor)) static void start(void) {
        const char *path = getenv(WALL_CLOCK_FILE_VARIABLE);
        void *p;

        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        if (fd < 0)
                return;

        p = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void) close(fd);
        if (p != MAP_FAILED)
                shared = p;
}

static int is_wall_clock(clockid_t clock) {
        return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM ||
               clock == CLOCK_TAI;
}

PUBLIC int clock_gettime(clockid_t clock, struct timespec *t) {
        if (syscall(sizeof(t->tv_sec) > sizeof(long) ? SYS_clock_gettime64 : SYS_clock_gettime, clock, t) < 0)
                return -1;

        if (shared && is_wall_clock(clock)) {
                t->tv_sec += (time_t) shared->shift_sec;
                shared->n_readings++;
        }
        return 0;
}

PUBLIC int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
        struct timespec t;

        if (clock_gettime(CLOCK_REALTIME, &t) < 0)
                return -1;

        tv->tv_sec = t.tv_sec;
        tv->tv_usec = t.tv_nsec / 1000;
        return 0;
}

PUBLIC time_t time(time_t *ret) {
        struct timespec t;

        if (clock_gettime(CLOCK_REALTIME, &t) < 0)
                return (time_t) -1;

        if (ret)
                *ret = t.tv_sec;
        return t.tv_sec;
}

PUBLIC int timerfd_create(clockid_t clock, int flags) {
        if (shared && is_wall_clock(clock))
                shared->n_timers++;
        return (int) syscall(SYS_timerfd_create, clock, flags);
}
