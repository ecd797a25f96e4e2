/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ten scenarios of the client library in Python and GJS, through the typelib, and compiled from Vala. */

#include "bus/fixture.h"

static const char *const scenarios[] = {
        "attach", "incoming", "accept", "descriptor", "options",
        "pause",  "close",    "errors", "persistent", "local",
};

/* Each program runs one scenario, and exits with 0. */
static void run_scenario(Fixture *f, const char *const *command, const char *scenario) {
        g_autofree char *address = g_strconcat("DBUS_SYSTEM_BUS_ADDRESS=",
                                               streq(scenario, "local") ? "unix:path=/nonexistent"
                                                                        : test_bus_address(f->bus),
                                               NULL),
                        *library = g_strconcat("LD_LIBRARY_PATH=", g_getenv("TEST_GLIB_LIBRARY"), NULL),
                        *typelib = g_strconcat("GI_TYPELIB_PATH=", g_getenv("TEST_GLIB_LIBRARY"), NULL),
                        *log = g_strdup_printf("%s/%s.log", test_bus_directory(f->bus), scenario);
        const char *const environment[] = {
                address, library, typelib, "LC_ALL=C.UTF-8", "G_DEBUG=fatal-criticals", NULL
        };
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        g_autoptr(TestChild) child = NULL;

        for (const char *const *word = command; *word; word++)
                g_ptr_array_add(argv, (char *) *word);
        g_ptr_array_add(argv, (char *) scenario);
        g_ptr_array_add(argv, NULL);

        test_show_on_failure(log);
        g_test_message("%s", scenario);
        child = test_child_new((const char *const *) argv->pdata,
                               &(TestSpawn) { .environment = environment, .log = log });
        g_assert_cmpint(test_child_wait(child), ==, 0);
        test_forget(log);
}

static void run_scenarios(Fixture *f, const char *const *command) {
        for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++)
                run_scenario(f, command, scenarios[i]);
}

static char *get_script(const char *name) {
        return g_build_filename(g_getenv("TEST_SOURCE_ROOT"), "tests/glib", name, NULL);
}

static bool has_typelib(void) {
        g_autofree char *path = g_build_filename(g_getenv("TEST_GLIB_LIBRARY"), "Tss-1.typelib", NULL);

        if (access(path, F_OK) == 0)
                return true;
        g_test_skip("built without introspection");
        return false;
}

TEST("the scenarios pass in Python") {
        g_autofree char *script = get_script("scenarios.py");

        if (!has_typelib() || !test_require_program("/usr/bin/python3"))
                return;
        if (test_run_command_in(-1, WORDS("/usr/bin/python3", "-c", "import gi")) != 0)
                g_test_skip("needs python3-gi");
        else
                run_scenarios(f, WORDS("/usr/bin/python3", script));
}

TEST("the scenarios pass in GJS") {
        g_autofree char *script = get_script("scenarios.js");

        if (has_typelib() && test_require_program("gjs"))
                run_scenarios(f, WORDS("gjs", "-m", script));
}

TEST("the scenarios pass in Vala") {
        const char *program = g_getenv("TEST_GLIB_VALA");

        if (program)
                run_scenarios(f, WORDS(program));
        else
                g_test_skip("needs valac and vapigen");
}
