/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Parsers of values of the configuration: booleans, time spans. */

#include <errno.h>
#include <glib.h>

#include "base/parse.h"

static void test_booleans(void) {
        static const char *const yes[] = { "1", "yes", "Yes", "y", "true", "T", "ON" };
        static const char *const no[] = { "0", "no", "N", "false", "F", "off" };
        static const char *const neither[] = { "", "2", "yess", " yes", "enable" };
        bool value;

        for (size_t i = 0; i < G_N_ELEMENTS(yes); i++) {
                value = false;
                g_assert_cmpint(parse_boolean(yes[i], &value), ==, 0);
                g_assert_true(value);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(no); i++) {
                value = true;
                g_assert_cmpint(parse_boolean(no[i], &value), ==, 0);
                g_assert_false(value);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(neither); i++)
                g_assert_cmpint(parse_boolean(neither[i], &value), ==, -EINVAL);
}

static void test_time_spans(void) {
        static const struct {
                const char *text;
                uint64_t usec;
        } right[] = {
                { "0", 0 },
                { "30", 30000000 },
                { "30s", 30000000 },
                { "30 sec", 30000000 },
                { " 5min ", 300000000 },
                { "5m 20", 320000000 },
                { "1h1min1s", 3661000000 },
                { "1.5h", 5400000000 },
                { "0.25", 250000 },
                { "2.5us", 2 },
                { "250ms", 250000 },
                { "7\xc2\xb5s", 7 },
                { "1d", UINT64_C(86400000000) },
                { "1w", UINT64_C(604800000000) },
                { "1M", UINT64_C(2629800000000) },
                { "1y", UINT64_C(31557600000000) },
                { "18446744073709551614us", UINT64_MAX - 1 },
                { "infinity", UINT64_MAX },
        };
        static const char *const wrong[] = {
                "",
                " ",
                "s",
                "-1",
                "1.",
                ".5",
                "1..5",
                "1,5",
                "5 minuten",
                "1e3",
                "infinite",
                "infinity 1",
                "5s!",
                "18446744073709551615us",
                "18446744073709551616",
                "584543y",
                "18446744073709551614us 1us",
        };
        uint64_t usec;

        for (size_t i = 0; i < G_N_ELEMENTS(right); i++) {
                g_test_message("%s", right[i].text);
                g_assert_cmpint(parse_time_span(right[i].text, &usec), ==, 0);
                g_assert_cmpuint(usec, ==, right[i].usec);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
                g_test_message("%s", wrong[i]);
                usec = 42;
                g_assert_cmpint(parse_time_span(wrong[i], &usec), <, 0);
                g_assert_cmpuint(usec, ==, 42);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/parse/reads booleans", test_booleans);
        g_test_add_func("/parse/reads time spans", test_time_spans);
        return g_test_run();
}
