/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/placement.h"

#include <sched.h>
#include <stdbool.h>

/* What this process was given at first. */
static cpu_set_t all;
static int load_cpu = -1, server_cpu = -1;

static bool find_cpus(void) {
        if (load_cpu >= 0)
                return server_cpu >= 0;

        if (sched_getaffinity(0, sizeof(all), &all) < 0)
                return false;
        for (int cpu = 0; cpu < CPU_SETSIZE && server_cpu < 0; cpu++)
                if (CPU_ISSET(cpu, &all))
                        *(load_cpu < 0 ? &load_cpu : &server_cpu) = cpu;
        return server_cpu >= 0;
}

static void place(pid_t pid, int cpu) {
        cpu_set_t one;

        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        /* It may have ended. */
        (void) sched_setaffinity(pid, sizeof(one), &one);
}

void place_load(void) {
        if (find_cpus())
                place(0, load_cpu);
}

void place_server(pid_t pid) {
        if (pid > 0 && find_cpus())
                place(pid, server_cpu);
}

void place_anywhere(pid_t pid) {
        if (pid > 0 && find_cpus())
                (void) sched_setaffinity(pid, sizeof(all), &all);
}
