/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/helper.h"

#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"

char *helper_find(const char *name) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
        g_autofree char *directory = self ? g_path_get_dirname(self) : g_strdup(".");
        g_autofree char *beside = g_build_filename(directory, name, NULL);

        return access(beside, X_OK) == 0 ? g_steal_pointer(&beside) : g_find_program_in_path(name);
}

Helper *helper_start(const char *const *argv, TestBus *bus, const char *log_name) {
        g_autofree char *directory = test_make_directory(log_name);
        g_autofree char *program = helper_find(argv[0]);
        g_autofree char *address = bus ? g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(bus))
                                       : g_strdup("DBUS_SYSTEM_BUS_ADDRESS");
        /* Not to log a line for each connection. */
        const char *environment[] = { address, "DBUS_SESSION_BUS_ADDRESS", "SYSTEMD_LOG_LEVEL=err", NULL };
        g_autoptr(GPtrArray) arguments = g_ptr_array_new();
        Helper *h = g_new0(Helper, 1);
        TestSpawn how = { .environment = environment };

        g_assert_nonnull(program);
        g_ptr_array_add(arguments, program);
        for (const char *const *argument = argv + 1; *argument; argument++)
                g_ptr_array_add(arguments, (char *) *argument);
        g_ptr_array_add(arguments, NULL);

        h->log = g_build_filename(directory, "log", NULL);
        how.log = h->log;
        h->child = test_child_new((const char *const *) arguments->pdata, &how);
        return h;
}

static char **read_lines(Helper *h) {
        char *content = NULL, **lines;

        if (!g_file_get_contents(h->log, &content, NULL, NULL))
                content = g_strdup("");
        lines = g_strsplit(g_strchomp(content), "\n", -1);
        g_free(content);
        return lines;
}

static void keep_last_line(Helper *h) {
        g_auto(GStrv) lines = read_lines(h);

        for (char **line = lines; *line; line++)
                if (**line != '\0' && !streq(*line, "ready")) {
                        g_free(h->last_line);
                        h->last_line = g_strdup(*line);
                }
        if (!h->last_line)
                h->last_line = g_strdup_printf("ended with status %d, and without a word", h->child->status);
}

bool helper_wait_ready(Helper *h, unsigned milliseconds) {
        test_wait_for_within(milliseconds,
                             test_child_has_exited(h->child) || test_file_contains(h->log, "ready\n"));
        keep_last_line(h);
        return !test_child_has_exited(h->child);
}

GArray *helper_read_ports(Helper *h) {
        GArray *ports = g_array_new(false, false, sizeof(uint16_t));
        g_auto(GStrv) lines = read_lines(h);

        for (char **line = lines; *line; line++) {
                uint16_t port = (uint16_t) g_ascii_strtoull(*line, NULL, 10);

                if (port > 0)
                        g_array_append_val(ports, port);
        }
        return ports;
}

void helper_free(Helper *h) {
        if (!h)
                return;
        test_child_free(h->child);
        g_free(h->log);
        g_free(h->last_line);
        g_free(h);
}

sd_bus *helper_connect(TestBus *bus) {
        sd_bus *connection = NULL;

        g_assert_cmpint(sd_bus_new(&connection), >=, 0);
        g_assert_cmpint(sd_bus_set_address(connection, test_bus_address(bus)), >=, 0);
        g_assert_cmpint(sd_bus_set_bus_client(connection, true), >=, 0);
        g_assert_cmpint(sd_bus_start(connection), >=, 0);
        return connection;
}
