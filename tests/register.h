/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tests with sentences as names, and assertions. A unit test needs nothing else, and has no main(). */

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/*
 * Defines and registers a test:
 *
 *     TEST_OF("a connection is handed over", Fixture, f, fixture_set_up, fixture_tear_down, NULL) {
 *             g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
 *             …
 *     }
 *
 * Its path is the program's name without "test-", and the sentence. The last argument is for the set-up, as
 * the pointer "data".
 */
#define TEST_OF(sentence, Type, variable, set_up, tear_down, argument) \
        TEST_OF_IF(true, sentence, Type, variable, set_up, tear_down, argument)
/* Only if this is true after the set-up, such as test_require_root(), which skips the test otherwise. */
#define TEST_OF_IF(requirement, sentence, Type, variable, set_up, tear_down, argument) \
        TEST_AT_(__LINE__, requirement, sentence, Type, variable, set_up, tear_down, argument)
/* The same without a fixture. */
#define TEST_ALONE(sentence) TEST_ALONE_IF(true, sentence)
#define TEST_ALONE_IF(requirement, sentence) TEST_OF_IF(requirement, sentence, char, unused, NULL, NULL, NULL)

#define TEST_AT_(line, ...) TEST_AT__(line, __VA_ARGS__)
#define TEST_AT__(line, requirement, sentence, Type, variable, set_up, tear_down, argument) \
        static void test_##line(Type *variable, const void *data);                          \
        static void run_##line(Type *variable, const void *data) {                          \
                if (requirement)                                                            \
                        test_##line(variable, data);                                        \
        }                                                                                   \
        static void add_##line(const char *path) {                                          \
                g_test_add(path, Type, argument, set_up, run_##line, tear_down);            \
        }                                                                                   \
        __attribute__((constructor)) static void register_##line(void) {                    \
                static TestRegistration registration = { sentence, add_##line, NULL };      \
                test_register(&registration);                                               \
        }                                                                                   \
        static void test_##line(Type *variable, const void *data)

/* The expression must not be a negative errno. */
#define must(expression)                                                                          \
        do {                                                                                      \
                int _r = (expression);                                                            \
                                                                                                  \
                if (_r < 0)                                                                       \
                        g_error("%s:%d: %s: %s", __FILE__, __LINE__, #expression, strerror(-_r)); \
        } while (0)
/* A string that is freed must be this one. */
#define test_assert_text(string, expected)            \
        do {                                          \
                g_autofree char *_text = (string);    \
                                                      \
                g_assert_cmpstr(_text, ==, expected); \
        } while (0)

typedef struct TestRegistration {
        const char *sentence;
        void (*add)(const char *path);
        struct TestRegistration *next;
} TestRegistration;

void test_register(TestRegistration *registration);
/* After g_test_init(): runs them all, in the order of the file. */
int test_run_registered(const char *program);
