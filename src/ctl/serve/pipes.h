/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Pipes for splice(2): a connection has one only while it has bytes on their way, so that idle ones cost
 * none. Large ones are faster, by a half. But of what the kernel lets one user have in all, usually 64 MiB,
 * some must be left for others: beyond that it makes every new pipe of the user tiny.
 */

#include <stdbool.h>
#include <stddef.h>

#define PIPE_LARGE_BYTES 1048576U
#define PIPE_LARGE_MAX 16

typedef struct Pipe {
        int in, out; /* what is written to the one is read from the other */
        bool is_large;
        struct Pipe *next;
} Pipe;

typedef struct Pipes {
        Pipe *idle;
        unsigned n_idle, n_large;
} Pipes;

/* Returns an empty one, or a negative errno. */
int pipes_take(Pipes *p, Pipe **ret);
/* The next one can be taken without fail then. Returns a negative errno if not. */
int pipes_reserve(Pipes *p);
/* It must be empty. */
void pipes_put(Pipes *p, Pipe *pipe);

/* For one that is not empty. */
void pipes_drop(Pipes *p, Pipe *pipe);
void pipes_done(Pipes *p);
