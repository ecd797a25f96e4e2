/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "listen" and "relay", which run until they get a signal. */

#include <sys/types.h>

#include "ctl/tool.h"

/* argv without the program. Waits until the tool says where it listens, and returns the port. */
Tool *serving_start(TestBus *bus, uint16_t *ret_port, const char *const *argv);

/* A test with delivery "socket" and one with "channel": the option of the tool is in "delivery". */
#define TEST_BY_BOTH(sentence) TEST_BY_BOTH_IF(true, sentence)
#define TEST_BY_BOTH_IF(requirement, sentence) TEST_BY_BOTH_(__LINE__, requirement, sentence)
#define TEST_BY_BOTH_(line, requirement, sentence) TEST_BY_BOTH__(line, requirement, sentence)
#define TEST_BY_BOTH__(line, requirement, sentence)                                                 \
        static void by_##line(Fixture *f, const char *delivery);                                    \
        TEST_AT__(socket_##line, requirement, sentence ", by socket", Fixture, f, fixture_set_up,   \
                  fixture_tear_down, NULL) {                                                        \
                by_##line(f, "--delivery=socket");                                                  \
        }                                                                                           \
        TEST_AT__(channel_##line, requirement, sentence ", by channel", Fixture, f, fixture_set_up, \
                  fixture_tear_down, NULL) {                                                        \
                by_##line(f, "--delivery=channel");                                                 \
        }                                                                                           \
        static void by_##line(Fixture *f, const char *delivery)

/* How often a line is in its standard output. */
unsigned serving_count_lines(Tool *tool, const char *line);

/* The same for standard error. */
unsigned serving_count_complaints(Tool *tool, const char *line);

/* Ends it by a signal; returns the exit status. */
int serving_end(Tool *tool, int signal_number);

/* How many children that process has, zombies too; the one that it has alone. */
unsigned serving_count_children(pid_t pid);
pid_t serving_get_child(pid_t pid);
/* As ps(1) shows it: 'S', 'T', 'Z'; 0: there is no such process. */
char serving_get_state(pid_t pid);

/* Whether it sleeps in the wait for events. */
bool serving_is_waiting(pid_t pid);

/* How often it has gone to sleep so far. */
unsigned serving_count_rests(pid_t pid);

/* How many connections wait in the kernel's queue at this port. */
unsigned serving_count_queued(uint16_t port);

/* How many descriptors a child of this process inherits. */
unsigned serving_count_inherited(void);

/* Calls tool_set_up_with(): this system call fails as long as the process lives. */
void serving_forbid(int call, int error);

/* The server sends back what it receives. */
void serving_assert_echoes(int peer);
