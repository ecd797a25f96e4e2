/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The ten scenarios of the client library: in Python and GJS, through the typelib, and compiled from Vala;
 * the latter also under valgrind. */

#include "bus/fixture.h"

static const char *const scenarios[] = {
        "attach", "incoming", "accept", "descriptor", "options",
        "pause",  "close",    "errors", "persistent", "local",
};

typedef struct Language {
        const char *sentence; /* after the name of the scenario */
        /* The arguments before the name of the scenario, or NULL, and the test is skipped. */
        GPtrArray *(*get_command)(Fixture *f);
        void (*check)(Fixture *f);
} Language;

typedef struct Case {
        const Language *language;
        const char *scenario;
} Case;

/* ----------------------------------------------------------------------------------------- the languages */

static GPtrArray *make_command(const char *const *words) {
        GPtrArray *command = g_ptr_array_new_with_free_func(g_free);

        for (; *words; words++)
                g_ptr_array_add(command, g_strdup(*words));
        return command;
}

static bool has_typelib(void) {
        g_autofree char *path = g_build_filename(g_getenv("TEST_GLIB_LIBRARY"), "Tss-1.typelib", NULL);

        if (access(path, F_OK) == 0)
                return true;
        g_test_skip("built without introspection");
        return false;
}

static char *get_script(const char *name) {
        return g_build_filename(g_getenv("TEST_SOURCE_ROOT"), "tests/glib", name, NULL);
}

static GPtrArray *get_python(Fixture *f) {
        g_autofree char *script = get_script("scenarios.py");

        if (!has_typelib() || !test_require_program("/usr/bin/python3"))
                return NULL;
        if (test_run_command_in(-1, WORDS("/usr/bin/python3", "-c", "import gi")) == 0)
                return make_command(WORDS("/usr/bin/python3", script));

        g_test_skip("needs python3-gi");
        return NULL;
}

static GPtrArray *get_gjs(Fixture *f) {
        g_autofree char *script = get_script("scenarios.js");

        return has_typelib() && test_require_program("gjs") ? make_command(WORDS("gjs", "-m", script)) : NULL;
}

static GPtrArray *get_vala(Fixture *f) {
        const char *program = g_getenv("TEST_GLIB_VALA");

        if (program)
                return make_command(WORDS(program));
        g_test_skip("needs valac and vapigen");
        return NULL;
}

static char *get_report(Fixture *f) {
        return g_build_filename(test_bus_directory(f->bus), "valgrind", NULL);
}

static GPtrArray *get_valgrind(Fixture *f) {
        g_autofree char *report = get_report(f), *option = g_strconcat("--log-file=", report, NULL);
        const char *program = g_getenv("TEST_GLIB_VALA");

        if (!program || !test_require_program("valgrind"))
                return get_vala(f);

        test_show_on_failure(report);
        return make_command(WORDS("valgrind", option, "--track-fds=yes", "--leak-check=full",
                                  "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
                                  "--error-exitcode=99", program));
}

/* GLib does not close the wake-ups of three main contexts: the default one, and those of two of its threads.
 */
static void check_descriptors(Fixture *f) {
        g_autofree char *path = get_report(f), *report = test_read_file(path);
        g_auto(GStrv) lines = g_strsplit(report, "\n", -1);
        unsigned n_wake_ups = 0;

        for (char **line = lines; *line; line++) {
                if (!strstr(*line, "== Open ") || strstr(line[1], "<inherited from parent>"))
                        continue;
                /* The line after that is the place. */
                g_assert_nonnull(strstr(line[1], ": eventfd ("));
                n_wake_ups++;
        }
        g_assert_cmpuint(n_wake_ups, <=, 3);
        test_forget(path);
}

/* ------------------------------------------------------------------------------------------ the tests */

static void set_up(Fixture *f, const void *data) {
        fixture_set_up(f, NULL);
}

/* Each program runs one scenario, and exits with 0. */
static void run_scenario(Fixture *f, const void *data) {
        const Case *c = data;
        g_autoptr(GPtrArray) command = c->language->get_command(f);
        g_autofree char *address = g_strconcat("DBUS_SYSTEM_BUS_ADDRESS=",
                                               streq(c->scenario, "local") ? "unix:path=/nonexistent"
                                                                           : test_bus_address(f->bus),
                                               NULL),
                        *library = g_strconcat("LD_LIBRARY_PATH=", g_getenv("TEST_GLIB_LIBRARY"), NULL),
                        *typelib = g_strconcat("GI_TYPELIB_PATH=", g_getenv("TEST_GLIB_LIBRARY"), NULL),
                        *log = g_build_filename(test_bus_directory(f->bus), "log", NULL);
        const char *const environment[] = { address, library, typelib, "LC_ALL=C.UTF-8",
                                            "G_DEBUG=fatal-criticals",
                                            /* Modules of GIO have threads and descriptors of their own. */
                                            "GIO_MODULE_DIR=/nonexistent", NULL };
        g_autoptr(TestChild) child = NULL;

        if (!command)
                return;

        g_ptr_array_add(command, g_strdup(c->scenario));
        g_ptr_array_add(command, NULL);
        test_show_on_failure(log);
        child = test_child_new((const char *const *) command->pdata,
                               &(TestSpawn) { .environment = environment, .log = log });
        g_assert_cmpint(test_child_wait(child), ==, 0);
        if (c->language->check)
                c->language->check(f);
        test_forget(log);
}

int main(int argc, char *argv[]) {
        static const Language languages[] = {
                { "passes in Python", get_python },
                { "passes in GJS", get_gjs },
                { "passes in Vala", get_vala },
                { "leaks nothing", get_valgrind, check_descriptors },
        };
        Case cases[ELEMENTS(languages)][ELEMENTS(scenarios)];

        test_init(&argc, &argv);
        for (size_t i = 0; i < ELEMENTS(languages); i++)
                for (size_t j = 0; j < ELEMENTS(scenarios); j++) {
                        g_autofree char *path = g_strdup_printf("/glib-bindings/the scenario \"%s\" %s",
                                                                scenarios[j], languages[i].sentence);

                        if (g_test_slow() != (languages[i].get_command == get_valgrind))
                                continue;
                        cases[i][j] = (Case) { languages + i, scenarios[j] };
                        g_test_add(path, Fixture, &cases[i][j], set_up, run_scenario, fixture_tear_down);
                }
        return test_run();
}
