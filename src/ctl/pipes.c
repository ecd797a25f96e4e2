/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>

#include "base/macros.h"
#include "ctl/pipes.h"

/* No more are kept for later. */
#define IDLE_MAX 64

static int pipe_new(Pipe **ret) {
        int fds[2], size;
        Pipe *pipe;

        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;

        size = fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
        if (size < 0)
                size = fcntl(fds[1], F_GETPIPE_SZ);
        pipe = size > 0 ? malloc(sizeof(*pipe)) : NULL;
        if (!pipe) {
                (void) close_fd(fds[0]);
                (void) close_fd(fds[1]);
                return -ENOMEM;
        }

        *pipe = (Pipe) { .in = fds[1], .out = fds[0], .slots = (unsigned) (size / getpagesize()) };
        *ret = pipe;
        return 0;
}

int pipes_take(Pipes *p, Pipe **ret) {
        if (!p->idle)
                return pipe_new(ret);

        *ret = p->idle;
        p->idle = p->idle->next;
        p->n_idle--;
        return 0;
}

void pipes_put(Pipes *p, Pipe *pipe) {
        if (p->n_idle >= IDLE_MAX) {
                (void) pipe_free(pipe);
                return;
        }

        pipe->next = p->idle;
        p->idle = pipe;
        p->n_idle++;
}

Pipe *pipe_free(Pipe *pipe) {
        if (!pipe)
                return NULL;

        (void) close_fd(pipe->in);
        (void) close_fd(pipe->out);
        free(pipe);
        return NULL;
}

void pipes_done(Pipes *p) {
        Pipe *pipe;

        while ((pipe = p->idle)) {
                p->idle = pipe->next;
                (void) pipe_free(pipe);
        }
        p->n_idle = 0;
}
