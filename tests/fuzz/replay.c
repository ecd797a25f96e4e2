/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a fuzz target with each file of the given directories: seeds, and inputs that once failed. */

#include <glib.h>
#include <stdio.h>

#include "fuzz/input.h"

#ifdef IGNORE_LEAKS_OF_LIBSYSTEMD
const char *__lsan_default_suppressions(void);

/* LeakSanitizer calls it. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void) {
        return "leak:libsystemd.so\n";
}
#endif

static void test_file(const void *data) {
        g_autoptr(GError) error = NULL;
        g_autofree char *content = NULL;
        const char *path = data;
        size_t size;

        (void) g_file_get_contents(path, &content, &size, &error);
        g_assert_no_error(error);

        /* Of the exact size, so that reading beyond it is found. */
        uint8_t *exactly = g_memdup2(content, size);
        g_assert_cmpint(LLVMFuzzerTestOneInput(exactly, size), ==, 0);
        g_free(exactly);
}

static void add_directory(const char *path) {
        g_autoptr(GError) error = NULL;
        const char *name;
        GDir *dir;

        dir = g_dir_open(path, 0, &error);
        g_assert_no_error(error);
        while ((name = g_dir_read_name(dir))) {
                g_autofree char *test = g_strdup_printf("/%s", name);

                g_test_add_data_func_full(test, g_build_filename(path, name, NULL), test_file, g_free);
        }
        g_dir_close(dir);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        (void) LLVMFuzzerInitialize(&argc, &argv);
        for (int i = 1; i < argc; i++)
                add_directory(argv[i]);
        return g_test_run();
}
