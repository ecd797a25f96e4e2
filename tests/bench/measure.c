/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/measure.h"

#include <glib.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int compare_doubles(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static int compare_samples(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

        return (x > y) - (x < y);
}

void series_add(Series *s, double value) {
        if (s->n < ROUNDS_MAX)
                s->values[s->n++] = value;
}

double series_get_median(const Series *s) {
        Series sorted = *s;

        if (s->n == 0)
                return NAN;
        qsort(sorted.values, sorted.n, sizeof(sorted.values[0]), compare_doubles);
        return (sorted.values[(s->n - 1) / 2] + sorted.values[s->n / 2]) / 2;
}

double series_get_min(const Series *s) {
        double min = NAN;

        for (unsigned i = 0; i < s->n; i++)
                min = fmin(min, s->values[i]); /* which prefers a number to NAN */
        return min;
}

double series_get_max(const Series *s) {
        double max = NAN;

        for (unsigned i = 0; i < s->n; i++)
                max = fmax(max, s->values[i]);
        return max;
}

Series series_divide(const Series *s, const Series *by) {
        Series ratios = {};

        for (unsigned i = 0; i < s->n && i < by->n; i++)
                if (by->values[i] > 0)
                        series_add(&ratios, s->values[i] / by->values[i]);
        return ratios;
}

Series series_choose(const Series *const *of, size_t n, bool largest) {
        Series chosen = {};

        for (unsigned i = 0; i < ROUNDS_MAX; i++) {
                double value = NAN;

                for (size_t k = 0; k < n; k++)
                        if (i < of[k]->n)
                                value = largest ? fmax(value, of[k]->values[i])
                                                : fmin(value, of[k]->values[i]);
                if (isnan(value))
                        break;
                series_add(&chosen, value);
        }
        return chosen;
}

json_object *number_to_json(double number) {
        return isfinite(number) ? json_object_new_double(number) : NULL;
}

json_object *series_to_json(const Series *s) {
        json_object *o = json_object_new_object(), *rounds = json_object_new_array();

        for (unsigned i = 0; i < s->n; i++)
                json_object_array_add(rounds, number_to_json(s->values[i]));
        json_object_object_add(o, "median", number_to_json(series_get_median(s)));
        json_object_object_add(o, "rounds", rounds);
        return o;
}

bool write_json(json_object *o, const char *path) {
        bool good = json_object_to_file_ext(path, o, JSON_C_TO_STRING_PRETTY) == 0;

        if (!good)
                fprintf(stderr, "Failed to write %s: %s\n", path, json_util_get_last_err());
        json_object_put(o);
        return good;
}

double percentile(uint32_t *samples, size_t n, double share) {
        if (n == 0)
                return NAN;
        qsort(samples, n, sizeof(*samples), compare_samples);
        return samples[(size_t) ((double) (n - 1) * share)];
}

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

uint64_t now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
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

/* The CPUs of this process at the start. */
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
        /* The process may have ended. */
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
