/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/show/output.h"

#define QUEUE_MAX ((size_t) 1024 * 1024)

/* When poll() reports POLLOUT, so many bytes can be written without blocking: to a pipe, and to a terminal.
 */
#define PIPE_ROOM PIPE_BUF
#define TERMINAL_ROOM 256

struct Output {
        sd_event *event;
        sd_event_source *source; /* NULL: a file, which never blocks */
        size_t room;
        char *queue;
        size_t size;
        unsigned long n_dropped;
};

/* Returns -EAGAIN if it would block. O_NONBLOCK would affect all processes that share the terminal. */
static int write_some(Output *o, const char *data, size_t size, size_t *ret) {
        struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT };
        ssize_t n;

        if (o->source && (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLOUT | POLLERR))))
                return -EAGAIN;

        n = write(STDOUT_FILENO, data, o->source && size > o->room ? o->room : size);
        if (n < 0)
                return errno == EINTR ? -EAGAIN : -errno;

        *ret = (size_t) n;
        return 0;
}

static void flush(Output *o) {
        size_t n = 0, done = 0;
        int r = 0;

        while (done < o->size) {
                r = write_some(o, o->queue + done, o->size - done, &n);
                if (r < 0)
                        break;
                done += n;
        }
        memmove(o->queue, o->queue + done, o->size - done);
        o->size -= done;

        if (r < 0 && r != -EAGAIN) {
                if (r != -EPIPE)
                        (void) message_error(r, _("Failed to write output: %s."), strerror(-r));
                (void) sd_event_exit(o->event, r == -EPIPE ? EXIT_SUCCESS : EXIT_FAILURE);
                return;
        }
        if (o->size == 0 && o->n_dropped > 0) {
                unsigned long n_dropped = TAKE(o->n_dropped, 0);

                (void) message_error(
                                0,
                                ngettext("%lu line was dropped, because the output was read too slowly.",
                                         "%lu lines were dropped, because the output was read too slowly.",
                                         n_dropped),
                                n_dropped);
        }
        if (o->source)
                (void) sd_event_source_set_io_events(o->source, o->size > 0 ? EPOLLOUT : 0);
}

static int on_writable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Output *o = userdata;

        /* The other end is closed. */
        if (events & (EPOLLERR | EPOLLHUP))
                return sd_event_exit(o->event, EXIT_SUCCESS);

        flush(o);
        return 0;
}

int output_new(sd_event *event, Output **ret) {
        Output *o;
        int r;

        o = calloc(1, sizeof(*o));
        if (!o)
                return message_oom();

        o->event = sd_event_ref(event);
        o->room = isatty(STDOUT_FILENO) ? TERMINAL_ROOM : PIPE_ROOM;
        o->queue = malloc(QUEUE_MAX);
        if (!o->queue) {
                output_free(o);
                return message_oom();
        }

        r = sd_event_add_io(event, &o->source, STDOUT_FILENO, 0, on_writable, o);
        if (r < 0 && r != -EPERM) {
                output_free(o);
                return message_error(r, _("Failed to write output: %s."), strerror(-r));
        }

        (void) signal(SIGPIPE, SIG_IGN);
        *ret = o;
        return 0;
}

Output *output_free(Output *o) {
        if (!o)
                return NULL;

        sd_event_source_disable_unref(o->source);
        sd_event_unref(o->event);
        free(o->queue);
        free(o);
        return NULL;
}

void output_line(Output *o, const char *line) {
        size_t length = strlen(line);

        if (length + 1 > QUEUE_MAX - o->size) {
                o->n_dropped++;
                return;
        }

        memcpy(o->queue + o->size, line, length);
        o->queue[o->size + length] = '\n';
        o->size += length + 1;
        flush(o);
}
