/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Pipes for splice(2): a connection has one only while it has bytes on their way, so that idle ones cost none. The
 * kernel lets one user have 64 MiB of pipe buffers, and makes further pipes tiny.
 */

#include <stddef.h>

/* What is asked for; the kernel may give less. */
#define PIPE_BYTES (256U * 1024)

typedef struct Pipe {
        int in, out; /* what is written to the one is read from the other */
        unsigned slots; /* so many pieces fit, however small */
        struct Pipe *next;
} Pipe;

typedef struct Pipes {
        Pipe *idle;
        unsigned n_idle;
} Pipes;

/* Returns an empty one, or a negative errno. */
int pipes_take(Pipes *p, Pipe **ret);
/* It must be empty. */
void pipes_put(Pipes *p, Pipe *pipe);

/* For one that is not empty, too. */
Pipe *pipe_free(Pipe *pipe);
void pipes_done(Pipes *p);
