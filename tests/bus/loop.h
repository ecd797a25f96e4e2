/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The test process: its one event loop, waiting with a deadline, its temporary directory. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "register.h"

/* Every main() is: test_init(&argc, &argv); …; return test_run(); */
void test_init(int *argc, char ***argv);
/* Runs the registered tests, in the order of the file. */
int test_run(void);

/* For a set-up or test that needs it; when false it has called g_test_skip(). */
bool test_require_root(void);
bool test_require_descriptors(unsigned n);
/* By its name or its path. */
bool test_require_program(const char *name);

/* Runs all clients that are not stalled, the observers of buses, and event sources of tests. */
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

/* Waits for poll(2) events of fd while the event loop runs. Returns the events. */
uint32_t test_wait_fd(int fd, uint32_t events);

/* Handles everything that is there already, and returns. */
void test_process_pending(void);

/* A fresh directory that all users may enter; it goes with the process, however that ends. */
char *test_make_directory(const char *name);

/* Shows the content of this file when the test fails. */
void test_show_on_failure(const char *path);
void test_forget(const char *path);
