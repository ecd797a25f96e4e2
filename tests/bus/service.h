/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon under test, as a child of the test, on a private bus. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bus/message-bus.h"
#include "bus/process.h"

typedef struct TestService TestService;

typedef struct TestServiceOptions {
        const char *const *arguments;   /* after argv[0]; NULL-terminated or NULL */
        const char *const *environment; /* as in TestSpawn */
        TestChildSetup setup;           /* runs in the child before exec() */
        void *data;
} TestServiceOptions;

/* Starts it and waits until it owns its name. */
TestService *test_service_new(TestBus *bus, const TestServiceOptions *options);
/* Starts it and does not wait: for one that must fail, or takes over from another. */
TestService *test_service_spawn(TestBus *bus, const TestServiceOptions *options);
/* Fails when the service, unless it was ended by the test, does not end SIGTERM with status 0, or when a
 * sanitizer has complained. */
void test_service_free(TestService *service);

/* Each returns the argument of exit(), or 128 + the signal. */
int test_service_stop(TestService *service); /* SIGTERM */
int test_service_kill(TestService *service); /* SIGKILL */
int test_service_wait_exit(TestService *service);
bool test_service_has_exited(TestService *service);

pid_t test_service_pid(TestService *service);
unsigned test_service_count_fds(TestService *service);
/* User and system time, in µs. */
uint64_t test_service_cpu_time(TestService *service);
/* How often the process has waited for something. */
uint64_t test_service_count_waits(TestService *service);
/* RLIMIT_NOFILE, so that accept() fails with EMFILE once that many are open. */
void test_service_limit_fds(TestService *service, unsigned limit);
/* A TCP socket in its network namespace listens on this port. */
bool test_service_is_listening(TestService *service, uint16_t port);

/* For TestServiceOptions.setup, with the privileges of root: the service has a configuration of its own, with
 * these lines. */
void test_mount_configuration(const char *lines);
/* Changes it while the service is running, which reads it then. */
void test_service_configure(TestService *service, const char *lines);

/* Its output to standard error. */
char *test_service_log(TestService *service);
bool test_service_has_logged(TestService *service, const char *text);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestService, test_service_free)
