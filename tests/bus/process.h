/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Children of the test process. They die with it. */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* An array of strings that ends with NULL. */
#define WORDS(...) ((const char *const[]) { __VA_ARGS__, NULL })

/* Runs in the child before exec(), to enter a namespace, to drop privileges, to install a filter. */
typedef void (*TestChildSetup)(void *data);

/*
 * For TestChildSetup: from now on, a seccomp filter takes this action for a system call. Returns 0, a
 * descriptor with SECCOMP_FILTER_FLAG_NEW_LISTENER, or a negative errno.
 *
 * On some architectures, the C library uses socketcall(2) for accept4(). The filter of SYS_accept4
 * covers that as well.
 */
int test_filter_call(int call, unsigned action, unsigned flags);

/* The same for socket() of one family, which fails with EAFNOSUPPORT. The filter cannot read the family where
 * the C library makes socketcall(2) of it: test_can_filter_socket() then skips the test. */
int test_filter_socket(int family);
bool test_can_filter_socket(void);

/* In an environment: the child writes its process id there. */
#define TEST_LISTEN_PID "LISTEN_PID=0000000000"

typedef struct TestSpawn {
        const char *const *environment; /* "VARIABLE=VALUE" to set, "VARIABLE" to unset; NULL-terminated or
                                           NULL */
        const char *log; /* where standard output and error go; NULL: to the test's standard error */
        int listen_fd;   /* above 0: passed as socket activation does */
        TestChildSetup setup;
        void *data;
} TestSpawn;

typedef struct TestChild {
        pid_t pid;
        int pidfd;
        int status;     /* the exit code, or 128 and the signal; valid once pid is 0 */
        bool by_signal; /* the second; the same */
} TestChild;

TestChild *test_child_new(const char *const *argv, const TestSpawn *options);
/* Kills it if it still runs. */
void test_child_free(TestChild *child);

bool test_child_has_exited(TestChild *child);
void test_child_signal(TestChild *child, int signal_number);
/* Waits while the event loop runs. */
int test_child_wait(TestChild *child);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestChild, test_child_free)

/* The content of a file, which must exist. */
char *test_read_file(const char *path);
/* False too when there is no such file. */
bool test_file_contains(const char *path, const char *text);

/* Runs a command, which must succeed. The event loop does not run. */
#define test_run_command(...) test_run_words(WORDS(__VA_ARGS__))
void test_run_words(const char *const *argv);
/* The same, but returns its exit status, and enters the network namespace first unless that is -1. */
int test_run_command_in(int netns, const char *const *argv);
