/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "register.h"

#include "base/macros.h"

static TestRegistration *first, **end = &first;

void test_register(TestRegistration *registration) {
        *end = registration;
        end = &registration->next;
}

/* The name of the program, as in Meson. */
static char *get_group(const char *program) {
        static const char *const prefixes[] = { "test-", "bus-", "ctl-", "machine-" };
        g_autofree char *name = g_path_get_basename(program);
        const char *rest = name;

        for (size_t i = 0; i < ELEMENTS(prefixes); i++)
                if (g_str_has_prefix(rest, prefixes[i]))
                        rest += strlen(prefixes[i]);
        return g_strdup(rest);
}

int test_run_registered(const char *program) {
        g_autofree char *group = get_group(program);

        for (const TestRegistration *one = first; one; one = one->next) {
                g_autofree char *path = g_strdup_printf("/%s/%s", group, one->sentence);

                one->add(path);
        }
        return g_test_run();
}
