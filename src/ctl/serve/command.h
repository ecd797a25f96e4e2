/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Running the COMMAND, with descriptors as systemd passes them (sd_listen_fds(3)), or with a connection as
 * standard input and output. */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As env(1) and the shells have it. */
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

typedef struct Command {
        char **argv;
        sigset_t mask;          /* what the tool found, and changes for itself: see signals.h */
        struct sigaction pipe;  /* of SIGPIPE */
        struct sigaction child; /* of SIGCHLD */
} Command;

typedef struct CommandInput {
        const int *fds;
        size_t n_fds;
        const char *names;          /* LISTEN_FDNAMES */
        const char *remote_address; /* NULL: not one connection */
        uint16_t remote_port;
        bool inetd;          /* the one descriptor is standard input and output instead */
        bool keeps_input;    /* has the tool's standard input */
        bool ends_with_tool; /* gets SIGTERM when the tool dies by a signal that it cannot pass on */
} CommandInput;

/* Keeps what is to be restored for it. Then takes as many descriptors as there may be, and ignores SIGPIPE,
 * and waits for children even if it was started to ignore them. */
void command_init(Command *c, char **argv);

/* Whether there is such a program. Returns 0, or EXIT_NOT_FOUND or EXIT_CANNOT_RUN, and has said so. */
int command_check(const Command *c);

/* Returns 0 or a negative errno, and says nothing; -EAGAIN and -ENOMEM are transient. If it cannot be
 * executed, the process says so and ends as env does. */
int command_start(const Command *c, const CommandInput *input, pid_t *ret);
