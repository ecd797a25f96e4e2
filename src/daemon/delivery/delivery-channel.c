/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "base/linger.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/socket.h"
#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery.h"
#include "daemon/policy/options.h"
#include "daemon/store/packet.h"
#include "daemon/store/spool.h"

/* So many packets may wait in a channel. It bounds what a client that does not read can pile up, of which the
 * kernel allows one user, ours, as many as RLIMIT_NOFILE. */
#define UNREAD_MAX 64

typedef struct DeliveryChannel {
        Delivery delivery; /* first, so that one pointer is the other. 'sent': in the channel, not yet read */
        bool is_served;    /* whoever has opened it is there; the room is nobody's otherwise */
        int ours;
        bool reset; /* closed by the client with something in it */
        sd_event_source *source;
        unsigned packet_size; /* what the kernel accounts for one */
} DeliveryChannel;

static DeliveryChannel *from_delivery(Delivery *d) {
        return (DeliveryChannel *) d;
}

/* What the client has sent into it is closed as well. */
static void channel_close(DeliveryChannel *c) {
        linger_limit_begin();
        c->ours = close_fd(c->ours);
}

/* Shuts the channel down and returns true if the client has closed its end. The kernel reports only once
 * whether the client closed it with unread packets in it. */
static bool channel_shut_down_if_closed(DeliveryChannel *c) {
        socklen_t size = sizeof(int);
        int error = 0;

        if (!socket_has_hung_up(c->ours))
                return false;

        /* The kernel sets the error a moment after the hang-up. shutdown() takes the socket's lock, so that
         * the error is there when it returns. */
        (void) shutdown(c->ours, SHUT_RDWR);
        if (getsockopt(c->ours, SOL_SOCKET, SO_ERROR, &error, &size) >= 0 && error == ECONNRESET)
                c->reset = true;
        return true;
}

static uint32_t channel_get_unread(const DeliveryChannel *c) {
        return c->delivery.n_restored + c->delivery.n_sent;
}

static void channel_confirm_first(DeliveryChannel *c) {
        Delivery *d = &c->delivery;

        if (d->n_restored > 0) {
                d->n_restored--;
                d->parameters.events->delivered(1, d->parameters.userdata);
        } else
                delivery_confirm(d, TAILQ_FIRST(&d->sent));
}

/* What has been read has left the channel. The kernel tells how much memory the rest takes, and all packets
 * take the same. What the client leaves in a channel that it closes takes none either: so whether it is
 * closed is asked afterwards. */
static void channel_count_read(DeliveryChannel *c) {
        uint32_t unread;
        int size;

        if (channel_get_unread(c) == 0 || ioctl(c->ours, SIOCOUTQ, &size) < 0)
                return;

        /* Rounded down: the kernel lets go of a packet that was read in two steps, and tells after the first.
         */
        unread = (unsigned) size / c->packet_size;
        if (channel_shut_down_if_closed(c))
                unread = c->reset ? channel_get_unread(c) : 0;
        while (channel_get_unread(c) > unread)
                channel_confirm_first(c);
}

static int send_connection(int socket, int fd, uint64_t serial) {
        Packet packet;

        packet_init(&packet, &serial, sizeof(serial));
        return packet_send(&packet, socket, &fd, 1);
}

static uint32_t channel_request_room(Delivery *d) {
        DeliveryChannel *c = from_delivery(d);
        uint32_t used = delivery_get_in_flight(d);

        if (c->ours < 0 || !c->is_served)
                return 0;

        return used < UNREAD_MAX ? UNREAD_MAX - used : 0;
}

static int channel_push(Delivery *d, bool more) {
        DeliveryChannel *c = from_delivery(d);
        Handoff *handoff;
        int r;

        if (c->ours < 0 || !c->is_served)
                return 0;

        while ((handoff = TAILQ_FIRST(&d->waiting)) && channel_get_unread(c) < UNREAD_MAX) {
                r = send_connection(c->ours, handoff->fd, handoff->serial);
                if (r == -ECONNRESET)
                        c->reset = true;
                if (r == -EAGAIN && channel_get_unread(c) == 0)
                        return -ENOBUFS; /* nobody will read something, so no event will come */
                if (r == -EAGAIN || r == -EPIPE || r == -ECONNRESET)
                        return 0; /* full, or closed: the event source says so too */
                if (r < 0)
                        return r; /* ETOOMANYREFS, ENOBUFS, ENOMEM: later */

                delivery_mark_sent(d);
                /* The channel holds a copy that outlives this process. */
                handoff_close(handoff);
        }

        return 0;
}

/* Nobody can read any more. What was not read is lost, unless the kernel says that nothing was left. What was
 * not sent may still go through another channel. */
static void channel_end(DeliveryChannel *c) {
        Delivery *d = &c->delivery;

        channel_count_read(c);
        delivery_lose_sent(d, EPIPE);
        if (!d->parameters.options->persistent)
                delivery_lose_waiting(d, EPIPE);

        c->source = sd_event_source_disable_unref(c->source);
        channel_close(c);
        d->saved_channel = spool_drop(d->saved_channel);
        d->parameters.events->channel_ended(d->parameters.userdata);
}

static int on_channel(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        DeliveryChannel *c = userdata;
        Delivery *d = &c->delivery;

        if (revents & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
                channel_end(c);

                /* The program has ended, and another one may open a channel. */
                if (!d->parameters.options->persistent)
                        d->parameters.events->failed(NULL, d->parameters.userdata);
                return 0;
        }

        channel_count_read(c);
        delivery_tell_room(d);
        return 0;
}

/* Finds out what the kernel accounts for a packet, as long as nobody else can read one. */
static int measure_packet(const int pair[static 2], unsigned *ret) {
        char buffer[sizeof(uint64_t)];
        int r, size;

        r = send_connection(pair[0], pair[0], 0);
        if (r < 0)
                return r;
        if (ioctl(pair[0], SIOCOUTQ, &size) < 0 || size <= 0)
                return -EIO;

        /* Without room for the descriptor the kernel closes it. */
        if (recv(pair[1], buffer, sizeof(buffer), 0) < 0)
                return -errno;

        *ret = (unsigned) size;
        return 0;
}

/* Each read wakes us up, so that it is known at any time what was not read; but under load many reads come in
 * one. */
static int channel_add_source(DeliveryChannel *c, int fd) {
        return sd_event_add_io(c->delivery.parameters.event, &c->source, fd, EPOLLOUT | EPOLLRDHUP | EPOLLET,
                               on_channel, c);
}

static int channel_open(Delivery *d) {
        DeliveryChannel *c = from_delivery(d);
        int pair[2], r;

        if (c->ours >= 0)
                return -EALREADY;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;

        r = measure_packet(pair, &c->packet_size);
        if (r >= 0)
                r = channel_add_source(c, pair[0]);
        if (r < 0) {
                (void) close_fd(pair[0]);
                (void) close_fd(pair[1]);
                return r;
        }

        c->ours = pair[0];
        c->reset = false;
        c->is_served = true;
        d->is_owners = d->has_owner;
        return pair[1];
}

static void channel_take_back(Delivery *d) {
        DeliveryChannel *c = from_delivery(d);

        c->source = sd_event_source_disable_unref(c->source);
        channel_close(c);
        d->saved_channel = spool_drop(d->saved_channel);
}

static int channel_get(Delivery *d, unsigned *ret_packet_size) {
        DeliveryChannel *c = from_delivery(d);

        *ret_packet_size = c->packet_size;
        return c->ours;
}

/* The unread connections are still in the channel. Only their number is known. */
static int channel_restore(Delivery *d, int fd, unsigned packet_size) {
        DeliveryChannel *c = from_delivery(d);
        int r, size;

        if (c->ours >= 0 || ioctl(fd, SIOCOUTQ, &size) < 0 || size < 0)
                return -EINVAL;

        r = channel_add_source(c, fd);
        if (r < 0)
                return r;

        /* Whose end it may be is not told before somebody can be told. */
        (void) sd_event_source_set_enabled(c->source, SD_EVENT_OFF);
        c->packet_size = packet_size;
        c->ours = fd;
        d->n_restored = (unsigned) size / packet_size;
        if (d->n_restored > UNREAD_MAX)
                d->n_restored = UNREAD_MAX;
        return 0;
}

static void channel_set_owner(Delivery *d, Outbox *outbox) {
        DeliveryChannel *c = from_delivery(d);

        channel_count_read(c);

        /* With its owner the program has left that had it, unless it was somebody else's from the beginning.
         */
        c->is_served = outbox || !d->is_owners;

        /* Whoever comes next must not be given what goes into the channel of one who has left. */
        if (c->ours >= 0 && d->parameters.options->persistent && channel_shut_down_if_closed(c))
                channel_end(c);
        if (c->source)
                (void) sd_event_source_set_enabled(c->source, SD_EVENT_ON);
}

static Delivery *channel_free(Delivery *d) {
        DeliveryChannel *c = from_delivery(d);

        sd_event_source_disable_unref(c->source);
        channel_close(c);
        d->saved_channel = spool_drop(d->saved_channel);
        delivery_done(d);
        free(c);
        return NULL;
}

static const DeliveryOps channel_ops = {
        .is_direct = true,
        .free = channel_free,
        .set_owner = channel_set_owner,
        .request_room = channel_request_room,
        .push = channel_push,
        .open_channel = channel_open,
        .take_back = channel_take_back,
        .get_channel = channel_get,
        .restore_channel = channel_restore,
};

int delivery_channel_new(const DeliveryParameters *parameters, Delivery **ret) {
        DeliveryChannel *c;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;

        delivery_init(&c->delivery, &channel_ops, parameters);
        c->ours = -EBADF;

        *ret = &c->delivery;
        return 0;
}
