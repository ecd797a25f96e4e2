/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs COMMAND with descriptors passed as systemd does (sd_listen_fds(3)), or with a connection as standard
 * input and output. */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <sys/types.h>

typedef struct Address Address;

/* As of env(1) and the shells. */
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

typedef struct Command {
        char **argv;
        char *const *environment; /* "NAME=VALUE", with a NULL at the end: changes of the tool's environment;
                                     NULL: none */
        /* As the tool was started with; restored for COMMAND. */
        sigset_t mask;
        struct sigaction pipe;  /* of SIGPIPE */
        struct sigaction child; /* of SIGCHLD */
        bool own_group;         /* each process is the leader of a process group */
} Command;

typedef struct CommandInput {
        const int *fds; /* none: COMMAND gets no variables LISTEN_* */
        size_t n_fds;
        const char *names;             /* LISTEN_FDNAMES */
        const Address *remote, *local; /* of the connection; NULL if COMMAND gets listening sockets */
        bool inetd;                    /* the one descriptor becomes standard input and output instead */
        bool keeps_input;              /* inherits the tool's standard input */
        bool ends_with_tool;           /* gets SIGTERM when the tool dies */
        const char *notify_socket;     /* NOTIFY_SOCKET; NULL: COMMAND gets none, and no WATCHDOG_* */
        /* Called in the child process as the last step before execve(). Returns 0 or a negative errno. NULL:
         * no such step. */
        int (*prepare)(void *userdata);
        void *userdata;
} CommandInput;

/* Remembers the state that COMMAND gets. Then raises RLIMIT_NOFILE, ignores SIGPIPE, and resets SIGCHLD,
 * which may be ignored, for waitpid(). */
void command_init(Command *c, char **argv, char *const *environment);

/* Returns 0 if the program exists, or prints an error message and returns EXIT_NOT_FOUND or
 * EXIT_CANNOT_RUN. */
int command_check(const Command *c);

/* Returns 0 or a negative errno, without a message; -EAGAIN and -ENOMEM are transient. If the program cannot
 * be executed, the child process prints an error message and ends with the status of env(1). */
int command_start(const Command *c, const CommandInput *input, pid_t *ret);

/* Sends a signal to the process, or to its process group if it has one. */
/* After this time, a user is told why the tool has not ended yet. */
#define COMMAND_PATIENCE_USEC (UINT64_C(5) * 1000 * 1000)

/* Tells that the tool waits for a process, which got the signal, and how to end it. */
void command_print_wait(pid_t pid, int signal_number);
void command_kill(const Command *c, pid_t pid, int signal_number);
/* The same with a signal of the tool, unless the terminal has sent it to the process, too. */
void command_forward(const Command *c, pid_t pid, const struct signalfd_siginfo *info);
