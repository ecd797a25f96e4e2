/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/usage.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char *read_file(const char *path) {
        char *content = NULL;

        return g_file_get_contents(path, &content, NULL, NULL) ? content : NULL;
}

static char *read_of_process(pid_t pid, const char *name) {
        g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int) pid, name);

        return read_file(path);
}

/* The number after a label at the start of a line. */
static uint64_t read_labelled(pid_t pid, const char *name, const char *label) {
        g_autofree char *content = read_of_process(pid, name);
        g_autofree char *start = g_strdup_printf("\n%s:", label);
        const char *found = content ? strstr(content, start) : NULL;

        return found ? g_ascii_strtoull(found + strlen(start), NULL, 10) : 0;
}

double usage_get_cpu(pid_t pid) {
        struct timespec time;
        clockid_t clock;

        /* Finer than the ticks of /proc/PID/stat. */
        if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) < 0)
                return 0;
        return (double) time.tv_sec * 1e6 + (double) time.tv_nsec / 1e3;
}

double usage_get_children_cpu(pid_t pid) {
        g_autofree char *content = read_of_process(pid, "stat");
        const char *rest = content ? strrchr(content, ')') : NULL;
        unsigned long long user, system;

        /* Fields 16 and 17; the name of the process before may contain anything. */
        if (!rest || sscanf(rest, ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &user,
                            &system) != 2)
                return 0;
        return (double) (user + system) * 1e6 / (double) sysconf(_SC_CLK_TCK);
}

double usage_get_rss(pid_t pid) {
        return pid == 0 ? 0 : (double) read_labelled(pid, "status", "VmRSS");
}

double usage_get_pss(pid_t pid) {
        return pid == 0 ? 0 : (double) read_labelled(pid, "smaps_rollup", "Pss");
}

uint64_t usage_get_sleeps(pid_t pid) {
        return read_labelled(pid, "status", "voluntary_ctxt_switches");
}

typedef struct CpuTimes {
        uint64_t busy, idle;
} CpuTimes;

static CpuTimes read_cpu_times(void) {
        g_autofree char *content = read_file("/proc/stat");
        unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;

        if (!content || sscanf(content, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system,
                               &idle, &iowait, &irq, &softirq, &steal) != 8)
                return (CpuTimes) {};
        return (CpuTimes) { .busy = user + nice + system + irq + softirq + steal, .idle = idle + iowait };
}

double usage_get_background(unsigned milliseconds) {
        CpuTimes before = read_cpu_times(), after;

        g_usleep((gulong) milliseconds * 1000);
        after = read_cpu_times();
        after.busy -= before.busy;
        after.idle -= before.idle;
        return (double) after.busy / (double) MAX(after.busy + after.idle, 1U);
}

/* A line of names, and then one of values. */
static uint64_t find_counter(char **names, char **values, const char *name) {
        for (size_t i = 0; names[i] && values[i]; i++)
                if (g_str_equal(names[i], name))
                        return g_ascii_strtoull(values[i], NULL, 10);
        return 0;
}

Drops usage_get_drops(void) {
        g_autofree char *content = read_file("/proc/self/net/netstat");
        Drops drops = {};

        if (!content)
                return drops;

        g_auto(GStrv) lines = g_strsplit(content, "\n", -1);
        for (char **line = lines; line[0] && line[1]; line++) {
                if (!g_str_has_prefix(line[0], "TcpExt: ") || !g_str_has_prefix(line[1], "TcpExt: "))
                        continue;

                g_auto(GStrv) names = g_strsplit(line[0], " ", -1);
                g_auto(GStrv) values = g_strsplit(line[1], " ", -1);
                drops.listen_overflows = find_counter(names, values, "ListenOverflows");
                drops.listen_drops = find_counter(names, values, "ListenDrops");
                drops.syn_retransmissions = find_counter(names, values, "TCPSynRetrans");
                break;
        }
        return drops;
}
