/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Pipes for splice(2). A connection has one only while the pipe holds bytes, so that idle connections cost
 * none. Large pipes are faster by a half, but limited in number: a user may have 64 MiB in pipes
 * (pipe-user-pages-soft), and beyond that the kernel makes every new pipe of the user tiny.
 */

#include <stdbool.h>
#include <stddef.h>

#define PIPE_LARGE_BYTES 1048576U
#define PIPE_LARGE_MAX 16

typedef struct Pipe {
        int in, out; /* bytes are written to the first and read from the second */
        bool is_large;
        struct Pipe *next;
} Pipe;

typedef struct Pipes {
        Pipe *idle;
        unsigned n_idle, n_large;
} Pipes;

/* Returns an empty one, or a negative errno. */
int pipes_take(Pipes *p, Pipe **ret);
/* Makes sure that the next pipes_take() succeeds. Returns 0 or a negative errno. */
int pipes_reserve(Pipes *p);
/* Returns an empty pipe for reuse. */
void pipes_put(Pipes *p, Pipe *pipe);

/* Closes a pipe that is not empty. NULL is allowed. */
void pipes_drop(Pipes *p, Pipe *pipe);
void pipes_done(Pipes *p);
