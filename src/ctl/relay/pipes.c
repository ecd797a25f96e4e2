/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>

#include "base/macros.h"
#include "ctl/relay/pipes.h"

/* How many pipes are kept for reuse. */
#define IDLE_MAX 32

static int pipe_new(bool large, Pipe **ret) {
        Pipe *pipe;
        int fds[2];

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;

        /* Fails at the user's limit. */
        if (large && fcntl(fds[1], F_SETPIPE_SZ, PIPE_LARGE_BYTES) < 0)
                large = false;

        pipe = malloc(sizeof(*pipe));
        if (!pipe) {
                (void) close_fd(fds[0]);
                (void) close_fd(fds[1]);
                return -ENOMEM;
        }

        *pipe = (Pipe) {
                .in = fds[1],
                .out = fds[0],
                .is_large = large,
        };
        *ret = pipe;
        return 0;
}

int pipes_take(Pipes *p, Pipe **ret) {
        Pipe *pipe = NULL;
        int r;

        if (p->idle) {
                *ret = p->idle;
                p->idle = p->idle->next;
                p->n_idle--;
                return 0;
        }

        r = pipe_new(p->n_large < PIPE_LARGE_MAX, &pipe);
        if (r < 0)
                return r;

        assert(pipe);
        p->n_large += pipe->is_large;
        *ret = pipe;
        return 0;
}

int pipes_reserve(Pipes *p) {
        Pipe *pipe;
        int r;

        if (p->idle)
                return 0;

        r = pipes_take(p, &pipe);
        if (r >= 0)
                pipes_put(p, pipe);
        return r;
}

void pipes_put(Pipes *p, Pipe *pipe) {
        Pipe **place = &p->idle;

        if (p->n_idle >= IDLE_MAX) {
                pipes_drop(p, pipe);
                return;
        }

        /* Large pipes are reused first. */
        if (!pipe->is_large)
                while (*place && (*place)->is_large)
                        place = &(*place)->next;
        pipe->next = *place;
        *place = pipe;
        p->n_idle++;
}

void pipes_drop(Pipes *p, Pipe *pipe) {
        if (!pipe)
                return;

        p->n_large -= pipe->is_large;
        (void) close_fd(pipe->in);
        (void) close_fd(pipe->out);
        free(pipe);
}

void pipes_done(Pipes *p) {
        Pipe *pipe;

        while ((pipe = p->idle)) {
                p->idle = pipe->next;
                pipes_drop(p, pipe);
        }
        p->n_idle = 0;
}
