/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/idle.h"

#include <glib.h>
#include <string.h>

#include "bench/helper.h"
#include "bench/load.h"
#include "bench/usage.h"
#include "bus/loop.h"
#include "bus/service.h"

#define READY_MS 10000U
/* What the client's arrival and strace's have caused is over. */
#define SETTLE_USEC (1000 * 1000U)

struct Idle {
        TestBus *bus;
        TestService *service;
        Helper *client;
        TestChild *strace;
        char *trace;
        uint64_t start, sleeps; /* from when on, and how many there were before */
        int64_t calls;
};

static bool is_traced(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid);

        return !test_file_contains(path, "TracerPid:\t0\n");
}

static void start_strace(Idle *idle, pid_t pid) {
        g_autofree char *program = g_find_program_in_path("strace");
        g_autofree char *number = g_strdup_printf("%d", (int) pid);
        g_autofree char *directory = test_make_directory("strace");
        g_autofree char *log = g_build_filename(directory, "log", NULL);

        if (!program)
                return;

        idle->trace = g_build_filename(directory, "trace", NULL);
        const char *argv[] = { program, "-f", "-o", idle->trace, "-p", number, NULL };
        idle->strace = test_child_new(argv, &(TestSpawn) { .log = log });
        test_wait_for(is_traced(pid) || test_child_has_exited(idle->strace));

        /* It may not. */
        if (test_child_has_exited(idle->strace))
                g_clear_pointer(&idle->strace, test_child_free);
}

/* Of the trace: calls that have returned. */
static int64_t count_calls(Idle *idle) {
        g_autofree char *content = NULL;
        int64_t lines = 0;

        if (!idle->strace || !g_file_get_contents(idle->trace, &content, NULL, NULL))
                return -1;
        for (const char *c = content; *c != '\0'; c++)
                lines += *c == '\n';
        return lines;
}

Idle *idle_start(void) {
        static const char *const argv[] = { "bench-client", "signal", NULL };
        Idle *idle = g_new0(Idle, 1);
        pid_t pid;

        idle->bus = test_bus_new(NULL);
        idle->service = test_service_new(idle->bus, NULL);
        idle->client = helper_start(argv, idle->bus, "idle-client");
        if (!helper_wait_ready(idle->client, READY_MS))
                g_error("the idle service's client has ended: %s", idle->client->last_line);
        g_assert_cmpuint(load_probe((uint16_t) g_ascii_strtoull(idle->client->last_line, NULL, 10)), >, 0);

        pid = test_service_pid(idle->service);
        start_strace(idle, pid);
        g_usleep(SETTLE_USEC);
        idle->start = test_now();
        idle->sleeps = usage_get_sleeps(pid);
        idle->calls = count_calls(idle);
        return idle;
}

IdleFigures idle_finish(Idle *idle, unsigned seconds) {
        uint64_t end = idle->start + (uint64_t) seconds * 1000000U, now;
        pid_t pid = test_service_pid(idle->service);
        IdleFigures figures = { .system_calls = -1 };

        for (now = test_now(); now < end; now = test_now())
                g_usleep((gulong) (end - now));

        figures.seconds = (double) (now - idle->start) / 1e6;
        figures.wake_ups = usage_get_sleeps(pid) - idle->sleeps;
        figures.rss = usage_get_rss(pid);
        figures.pss = usage_get_pss(pid);
        if (idle->calls >= 0)
                figures.system_calls = count_calls(idle) - idle->calls;

        /* strace lets go when it is killed. */
        test_child_free(idle->strace);
        helper_free(idle->client);
        test_service_free(idle->service);
        test_bus_free(idle->bus);
        g_free(idle->trace);
        g_free(idle);
        return figures;
}
