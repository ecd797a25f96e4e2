/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/wait.h>

#include "bus/loop.h"
#include "bus/process.h"
#include "display.h"

static char *home;

const char *display_start(void) {
        g_autofree char *file = NULL, *command = NULL, *number = NULL, *display = NULL;
        g_autofree char *path = g_find_program_in_path("Xvfb");
        const char *argv[] = { "/bin/sh", "-c", NULL, NULL };
        int lifeline; /* open until the test exits */
        GPid shell;

        if (!path)
                return "no Xvfb";

        home = test_make_directory("home");
        file = g_build_filename(home, "display", NULL);
        /* No child of the test, which waits for its children before it exits. */
        command = g_strdup_printf(
                        "exec 4<&0; { Xvfb -displayfd 3 -screen 0 800x900x24 -nolisten tcp -noreset 3>'%s' &"
                        " read -r line <&4; kill $!; } >/dev/null 2>&1 &",
                        file);
        argv[2] = command;
        g_assert_true(g_spawn_async_with_pipes(NULL, (char **) argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                               NULL, &shell, &lifeline, NULL, NULL, NULL));
        g_assert_cmpint(waitpid(shell, NULL, 0), ==, shell);
        test_wait_for(test_file_contains(file, "\n"));

        number = test_read_file(file);
        display = g_strconcat(":", g_strstrip(number), NULL);
        g_assert_true(g_setenv("DISPLAY", display, TRUE));
        g_assert_true(g_setenv("HOME", home, TRUE));
        g_assert_true(g_setenv("XDG_CONFIG_HOME", home, TRUE));
        g_assert_true(g_setenv("GDK_BACKEND", "x11", TRUE));
        g_assert_true(g_setenv("GSK_RENDERER", "cairo", TRUE));
        g_assert_true(g_setenv("GSETTINGS_BACKEND", "memory", TRUE));
        g_assert_true(g_setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent", TRUE));
        g_assert_true(g_setenv("GTK_A11Y", "test", TRUE));
        g_assert_true(g_setenv("ADW_DISABLE_PORTAL", "1", TRUE));
        return NULL;
}

const char *display_get_home(void) {
        return home;
}
