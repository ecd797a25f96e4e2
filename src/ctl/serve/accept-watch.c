/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/accept-watch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <time.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/socket.h"
#include "ctl/cli/message.h"
#include "ctl/service/port-holders.h"

/* The queue is looked at so often, at these intervals. */
#define N_LOOKS 5
#define LOOK_USEC (UINT64_C(1) * 1000 * 1000)

typedef struct WatchedPort {
        AcceptWatch *watch;
        int original; /* of the lease */
        int fd;       /* a copy: the event loop may have the original for another purpose */
        uint16_t number;
        uint32_t n_queued; /* at the last look */
        unsigned n_looks;
        uint32_t *earlier; /* connections at the time of the first look */
        sd_event_source *readable, *timer;
        LIST_ENTRY(WatchedPort) ports;
} WatchedPort;

struct AcceptWatch {
        sd_event *event;
        bool binds;
        LIST_HEAD(, WatchedPort) ports;
};

static void port_end(WatchedPort *p) {
        LIST_REMOVE(p, ports);
        sd_event_source_disable_unref(p->readable);
        sd_event_source_disable_unref(p->timer);
        (void) close_fd(p->fd);
        free(p->earlier);
        free(p);
}

static uint32_t *find_connections(const WatchedPort *p) {
        Address address;

        return socket_get_local_address(p->fd, &address) < 0 ? NULL : port_find_connections(&address);
}

static bool contains(const uint32_t *inodes, uint32_t inode) {
        while (*inodes != 0 && *inodes != inode)
                inodes++;
        return *inodes != 0;
}

/* A busy server has accepted connections, although its queue is never empty. Those of an earlier server at
 * this port can be there, too. */
static bool has_accepted(const WatchedPort *p) {
        _cleanup_free_ uint32_t *now = find_connections(p);

        if (!now || !p->earlier)
                return true;
        for (const uint32_t *inode = now; *inode != 0; inode++)
                if (!contains(p->earlier, *inode))
                        return true;
        return false;
}

static void tell(const WatchedPort *p) {
        if (p->watch->binds)
                (void) message_error(-ETIMEDOUT,
                                     _("COMMAND does not accept on port %u; see UNMODIFIED SERVERS in "
                                       "tcpserversocketctl(1)."),
                                     p->number);
        else
                (void) message_error(-ETIMEDOUT,
                                     _("COMMAND does not accept on port %u; does it take descriptor 3? Try "
                                       "\"tcpserversocketctl run\", see LISTENING in tcpserversocketctl(1)."),
                                     p->number);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
        WatchedPort *p = userdata;
        uint32_t n_queued = socket_count_queued(p->fd);

        /* Only accept() shortens the queue. */
        if (n_queued == 0 || n_queued < p->n_queued) {
                port_end(p);
                return 0;
        }

        p->n_queued = n_queued;
        if (++p->n_looks < N_LOOKS && sd_event_source_set_time_relative(source, LOOK_USEC) >= 0 &&
            sd_event_source_set_enabled(source, SD_EVENT_ONESHOT) >= 0)
                return 0;

        if (p->n_looks == N_LOOKS && !has_accepted(p))
                tell(p);
        port_end(p);
        return 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        WatchedPort *p = userdata;

        p->n_queued = socket_count_queued(fd);
        p->earlier = find_connections(p);
        if (p->n_queued == 0 || sd_event_add_time_relative(sd_event_source_get_event(source), &p->timer,
                                                           CLOCK_MONOTONIC, LOOK_USEC, 0, on_look, p) < 0)
                port_end(p);
        return 0;
}

int accept_watch_new(sd_event *event, bool binds, AcceptWatch **ret) {
        AcceptWatch *w;

        w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;

        *w = (AcceptWatch) { .event = sd_event_ref(event), .binds = binds };
        *ret = w;
        return 0;
}

AcceptWatch *accept_watch_free(AcceptWatch *w) {
        WatchedPort *p;

        if (!w)
                return NULL;

        while ((p = LIST_FIRST(&w->ports)))
                port_end(p);
        sd_event_unref(w->event);
        free(w);
        return NULL;
}

int accept_watch_add(AcceptWatch *w, int fd, uint16_t port) {
        WatchedPort *p;
        int r;

        /* Of a container, where the connections cannot be seen. */
        if (socket_is_in_own_network(fd) <= 0)
                return 0;

        p = malloc(sizeof(*p));
        if (!p)
                return -ENOMEM;

        *p = (WatchedPort) {
                .watch = w,
                .original = fd,
                .fd = fcntl(fd, F_DUPFD_CLOEXEC, 3),
                .number = port,
        };
        LIST_INSERT_HEAD(&w->ports, p, ports);
        r = p->fd < 0 ? -errno : sd_event_add_io(w->event, &p->readable, p->fd, EPOLLIN, on_readable, p);
        if (r >= 0)
                r = sd_event_source_set_enabled(p->readable, SD_EVENT_ONESHOT);
        if (r < 0)
                port_end(p);
        return r;
}

void accept_watch_remove(AcceptWatch *w, int fd) {
        WatchedPort *p;

        LIST_FOREACH(p, &w->ports, ports)
                if (p->original == fd) {
                        port_end(p);
                        return;
                }
}
