/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/serve/accept-watch.h"

#include <sys/epoll.h>
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
        int fd; /* of the lease */
        uint16_t number;
        uint32_t n_queued; /* at the last look */
        unsigned n_looks;
        uint32_t *earlier; /* connections at the time of the first look */
        sd_event_source *readable, *timer;
} WatchedPort;

struct AcceptWatch {
        WatchedPort *ports;
        size_t n_ports;
};

DEFINE_CLEANUP(AcceptWatch, accept_watch_free)

static void port_end(WatchedPort *p) {
        p->readable = sd_event_source_disable_unref(p->readable);
        p->timer = sd_event_source_disable_unref(p->timer);
        free(TAKE_PTR(p->earlier));
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
                (void) message_error(-ETIMEDOUT,
                                     _("COMMAND does not accept on port %u; does it take descriptor 3? Try "
                                       "\"tcpserversocketctl run\", see LISTENING in tcpserversocketctl(1)."),
                                     p->number);
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

int accept_watch_new(sd_event *event, const Lease *lease, AcceptWatch **ret) {
        _cleanup_(accept_watch_freep) AcceptWatch *w = NULL;
        int r;

        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->ports = calloc(lease_get_n(lease), sizeof(*w->ports));
        if (!w->ports)
                return -ENOMEM;

        for (size_t i = 0; i < lease_get_n(lease); i++) {
                WatchedPort *p = w->ports + i;

                *p = (WatchedPort) { .fd = lease_get_sockets(lease)[i], .number = lease_get_port(lease, i) };
                w->n_ports++;
                /* Of a container, where the connections cannot be seen. */
                if (socket_is_in_own_network(p->fd) <= 0)
                        continue;

                r = sd_event_add_io(event, &p->readable, p->fd, EPOLLIN, on_readable, p);
                if (r >= 0)
                        r = sd_event_source_set_enabled(p->readable, SD_EVENT_ONESHOT);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(w);
        return 0;
}

AcceptWatch *accept_watch_free(AcceptWatch *w) {
        if (!w)
                return NULL;

        for (size_t i = 0; i < w->n_ports; i++)
                port_end(w->ports + i);
        free(w->ports);
        free(w);
        return NULL;
}
