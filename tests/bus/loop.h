/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The test process: its one event loop, waiting with a deadline, its temporary directory. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

/* Every main() is: test_init(&argc, &argv); …; return test_run(); */
void test_init(int *argc, char ***argv);
/* Runs the registered tests, in the order of the file. */
int test_run(void);

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

typedef struct TestRegistration {
        const char *sentence;
        void (*add)(const char *path);
        struct TestRegistration *next;
} TestRegistration;

void test_register(TestRegistration *registration);

/* For a set-up or test that needs it; when false it has called g_test_skip(). */
bool test_require_root(void);
bool test_require_descriptors(unsigned n);
/* By its name or its path. */
bool test_require_program(const char *name);

/* Drives all clients that are not stalled, the buses' observers, and what was added to it. */
sd_event *test_event(void);

/* Fails when the condition does not become true within the usual deadline, and shows it. The condition is
 * evaluated after every event, and now and then for those that no event announces (/proc). */
#define test_wait_for(condition) test_wait_for_within(TEST_DEADLINE_MS, condition)
#define test_wait_for_within(milliseconds, condition)                              \
        do {                                                                       \
                uint64_t _deadline = test_deadline(milliseconds);                  \
                while (!(condition))                                               \
                        test_wait_step(_deadline, #condition, __FILE__, __LINE__); \
        } while (0)

#define TEST_DEADLINE_MS 30000U

/* Stretches all deadlines from now on. */
void test_be_patient(unsigned factor);

/* In µs of CLOCK_MONOTONIC; stretched by TEST_TIMEOUT_MULTIPLIER. */
uint64_t test_deadline(unsigned milliseconds);
uint64_t test_now(void);
void test_wait_step(uint64_t deadline, const char *what, const char *file, int line);

/* Waits for poll(2) events of fd while the loop goes on; returns what poll() reported. */
uint32_t test_wait_fd(int fd, uint32_t events);

/* Handles everything that is there already, and returns. */
void test_process_pending(void);

/* A fresh directory that all users may enter; it goes with the process, however that ends. */
char *test_make_directory(const char *name);

/* What is in this file is shown when the test fails. */
void test_show_on_failure(const char *path);
void test_forget(const char *path);
