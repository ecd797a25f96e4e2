/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine/soak-usage.h"

#include <string.h>

#define QUIET_US (1000U * 1000)

static uint64_t count_wakeups(pid_t pid) {
        static const char key[] = "voluntary_ctxt_switches:";
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid), *content = NULL;

        content = test_read_file(path);
        const char *line = strstr(content, key);
        g_assert_nonnull(line);
        return g_ascii_strtoull(line + strlen(key), NULL, 10);
}

static unsigned usage_count_stored(void) {
        g_autofree char *n = machine_get_unit("NFileDescriptorStore");

        return (unsigned) g_ascii_strtoull(n, NULL, 10);
}

Usage usage_measure(void) {
        Usage u = { .pid = machine_service_pid(), .memory = attack_get_memory() };

        u.n_stored = usage_count_stored();
        u.n_fds = test_count_fds(u.pid) - u.n_stored;
        u.n_wakeups = count_wakeups(u.pid);
        /* It is time itself that is waited for. */
        uint64_t end = test_now() + QUIET_US;
        test_wait_for(test_now() >= end);
        u.n_wakeups = count_wakeups(u.pid) - u.n_wakeups;
        return u;
}
