/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "base/channel.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/socket.h"
#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery.h"
#include "daemon/policy/options.h"
#include "daemon/store/packet.h"
#include "daemon/store/spool.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"

/* Unread connections in a channel. The kernel limits the descriptors in all channels together to
 * RLIMIT_NOFILE of the service's user, and a client that does not read must not use them up. */
#define UNREAD_MAX 64

/*
 * The kernel shows how much memory the unread packets of a channel take (SIOCOUTQ), which depends on their
 * sizes. So the sizes of the last packets are recorded as a bit for each connection, the newest in bit 0; the
 * bit is set if the connection is the last one of its packet. One number covers all unread connections, and
 * is stored for the next process at once.
 */
typedef uint64_t PacketEnds;

static_assert(UNREAD_MAX == sizeof(PacketEnds) * 8, "the number has a bit for each unread connection");
static_assert(UNREAD_MAX >= 2 * CHANNEL_BATCH_MAX, "a packet has room while another one is unread");

/* A client that reads more often than so many times in this period is counted once in it. With an event for
 * each read, the wake-ups take a sixth of the time that client and service spend on a connection. */
#define COUNT_USEC (UINT64_C(20) * 1000)
#define COUNT_READS_MAX 16

/* Edge-triggered: with EPOLLOUT, each read of the client causes an event, several reads one event under load.
 */
#define CHANNEL_EVENTS ((uint32_t) EPOLLET)

/* Before the first packet. */
#define PACKET_ENDS_INIT UINT64_C(1)

typedef struct DeliveryChannel {
        Delivery delivery; /* must be first. Its queue 'sent': unread in the channel */
        int ours;          /* the service's end; -EBADF: no channel */
        bool reset;        /* the client has closed it with unread packets in it */
        sd_event_source *source;
        sd_event_source *count_timer; /* instead of events, while it is enabled */
        uint64_t count_end_usec;      /* of the period, on CLOCK_MONOTONIC */
        uint32_t n_reads;             /* in the period: events, or with the timer connections */
        PacketEnds ends;
        unsigned memory[CHANNEL_BATCH_MAX + 1]; /* of a packet, by its number of connections; bytes */
        StateSlot *slot;                        /* NULL: not in the store */
        SpoolEntry *saved;                      /* likewise */
} DeliveryChannel;

static DeliveryChannel *from_delivery(Delivery *d) {
        assert(delivery_is(d, DELIVERY_CHANNEL));
        return (DeliveryChannel *) d;
}

static void channel_close(DeliveryChannel *c) {
        c->source = sd_event_source_disable_unref(c->source);
        c->count_timer = sd_event_source_disable_unref(c->count_timer);
        c->ours = close_fd(c->ours);
        c->saved = spool_drop(c->saved);
        c->slot = NULL;
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
                d->parameters.events->delivered(d->parameters.userdata);
        } else
                delivery_confirm(d, TAILQ_FIRST(&d->sent));
}

/* Records a packet before it is sent, so that a process that is killed between the two cannot leave one that
 * is not recorded. */
static void channel_set_ends(DeliveryChannel *c, PacketEnds ends) {
        c->ends = ends;
        if (c->slot)
                c->slot->channel_ends = ends;
}

/* Returns how many connections are in packets that take so many bytes together, beginning with the newest
 * packet, but at most max. */
static uint32_t channel_count_connections(const DeliveryChannel *c, unsigned bytes, uint32_t max) {
        PacketEnds ends = c->ends;
        uint32_t n = 0, size;

        while (n < max) {
                PacketEnds earlier = ends >> 1;

                /* The end of the packet before the oldest one may be too long ago to be recorded. */
                size = earlier != 0 ? (uint32_t) __builtin_ctzll(earlier) + 1 : max - n;
                if (size > max - n || size > CHANNEL_BATCH_MAX || c->memory[size] == 0 ||
                    c->memory[size] > bytes)
                        break;
                bytes -= c->memory[size];
                n += size;
                ends >>= size;
        }

        return n;
}

/* Confirms the connections that have been read, and returns their number. Packets in a channel that the
 * client has closed take no memory, so that is checked afterwards. */
static uint32_t channel_count_read(DeliveryChannel *c) {
        uint32_t unread, n = 0;
        int size;

        if (channel_get_unread(c) == 0 || ioctl(c->ours, SIOCOUTQ, &size) < 0)
                return 0;

        /* Bytes that are left over do not count: the kernel releases the memory of a packet in two steps, and
         * wakes us after the first. */
        unread = channel_count_connections(c, (unsigned) size, channel_get_unread(c));
        if (channel_shut_down_if_closed(c))
                unread = c->reset ? channel_get_unread(c) : 0;
        for (; channel_get_unread(c) > unread; n++)
                channel_confirm_first(c);

        return n;
}

static uint32_t channel_get_batch(const DeliveryChannel *c) {
        return c->delivery.parameters.options->channel_batch;
}

/* There is room for a whole packet or for none, or else each read of a packet would make room for one that is
 * not full. */
static bool channel_has_room(const DeliveryChannel *c) {
        return channel_get_unread(c) + channel_get_batch(c) <= UNREAD_MAX;
}

static bool channel_is_timed(const DeliveryChannel *c) {
        return c->count_timer && sd_event_source_get_enabled(c->count_timer, NULL) > 0;
}

/* An event for the reads until now follows at once. */
static void channel_watch_reads(DeliveryChannel *c) {
        int r;

        if (!channel_is_timed(c))
                return;

        r = sd_event_source_set_io_events(c->source, CHANNEL_EVENTS | EPOLLOUT);
        if (r < 0) {
                log_warning("Failed to watch the channel of %s: %s", c->delivery.parameters.path,
                            strerror(-r));
                return;
        }

        (void) sd_event_source_set_enabled(c->count_timer, SD_EVENT_OFF);
        c->n_reads = 0;
}

static int on_count(sd_event_source *s, uint64_t usec, void *userdata) {
        DeliveryChannel *c = userdata;

        (void) sd_event_source_set_time_relative(s, COUNT_USEC);
        c->n_reads += channel_count_read(c);
        if (c->n_reads <= COUNT_READS_MAX)
                channel_watch_reads(c);
        c->n_reads = 0;
        delivery_tell_room(&c->delivery);
        return 0;
}

static void channel_start_timer(DeliveryChannel *c) {
        int r;

        if (!c->count_timer)
                r = sd_event_add_time_relative(c->delivery.parameters.event, &c->count_timer, CLOCK_MONOTONIC,
                                               COUNT_USEC, 1, on_count, c);
        else
                r = sd_event_source_set_time_relative(c->count_timer, COUNT_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->count_timer, SD_EVENT_ON);
        if (r >= 0)
                r = sd_event_source_set_io_events(c->source, CHANNEL_EVENTS);
        if (r >= 0)
                return;

        log_warning("Failed to set a timer for %s: %s", c->delivery.parameters.path, strerror(-r));
        c->count_timer = sd_event_source_disable_unref(c->count_timer);
}

/* Counts an event, and starts the timer when there are too many. */
static void channel_note_read(DeliveryChannel *c) {
        uint64_t now;

        if (channel_is_timed(c) || sd_event_now(c->delivery.parameters.event, CLOCK_MONOTONIC, &now) < 0)
                return;

        if (now >= c->count_end_usec) {
                c->count_end_usec = now + COUNT_USEC;
                c->n_reads = 0;
        }
        if (++c->n_reads <= COUNT_READS_MAX)
                return;

        c->n_reads = 0;
        channel_start_timer(c);
}

/* Sends the first n connections that wait, in one packet. */
static int channel_send(DeliveryChannel *c, uint32_t n) {
        ChannelRecord records[CHANNEL_BATCH_MAX];
        int fds[CHANNEL_BATCH_MAX], r;
        PacketEnds before = c->ends;
        Handoff *handoff;
        size_t i = 0;
        Packet packet;

        assert(n > 0 && n <= ELEMENTS(records));
        assert(n <= c->delivery.n_waiting);

        TAILQ_FOREACH(handoff, &c->delivery.waiting, delivery_link) {
                if (i == n)
                        break;
                channel_record_init(records + i, handoff->serial, &handoff->peer, &handoff->local);
                fds[i++] = handoff->fd;
        }

        channel_set_ends(c, before << n | 1);
        packet_init(&packet, records, n * sizeof(*records));
        r = packet_send(&packet, c->ours, fds, n);
        if (r < 0)
                channel_set_ends(c, before);
        return r;
}

/* Nothing is sent into the channel of an owner that has left, even if its program still has the channel. */
static bool channel_is_served(const DeliveryChannel *c) {
        const Delivery *d = &c->delivery;

        return c->ours >= 0 && (d->has_owner || d->holder == DELIVERY_HOLDER_OTHER);
}

/* Returns whether a packet may be sent now; if not, an event follows. */
static bool channel_request_packet(DeliveryChannel *c) {
        if (!channel_has_room(c) && channel_is_timed(c)) {
                c->n_reads += channel_count_read(c);
                if (!channel_has_room(c))
                        channel_watch_reads(c);
        }

        return channel_has_room(c);
}

static uint32_t channel_request_room(Delivery *d) {
        DeliveryChannel *c = from_delivery(d);
        uint32_t batch = channel_get_batch(c);

        if (!channel_is_served(c) || !channel_request_packet(c))
                return 0;

        return d->n_waiting < batch ? batch - d->n_waiting : 0;
}

static int channel_push(Delivery *d, bool more) {
        DeliveryChannel *c = from_delivery(d);
        int r;

        if (!channel_is_served(c))
                return 0;

        while (d->n_waiting > 0 && channel_request_packet(c)) {
                uint32_t batch = channel_get_batch(c), n = d->n_waiting < batch ? d->n_waiting : batch;

                if (more && n < batch)
                        return 0;

                r = channel_send(c, n);
                if (r == -ECONNRESET)
                        c->reset = true;
                if (r == -EAGAIN && channel_get_unread(c) == 0)
                        return -ENOBUFS; /* an empty channel causes no event */
                if (r == -EAGAIN)
                        channel_watch_reads(c);
                if (r == -EAGAIN || r == -EPIPE || r == -ECONNRESET)
                        return 0; /* full or closed: an event follows */
                if (r < 0)
                        return r; /* ETOOMANYREFS, ENOBUFS, ENOMEM: the listener backs off */

                for (; n > 0; n--) {
                        Handoff *handoff = TAILQ_FIRST(&d->waiting);

                        delivery_mark_sent(d);
                        /* The channel holds a copy that outlives this process. */
                        handoff_close(handoff);
                }
        }

        return 0;
}

/* The client has closed the channel. Unread connections are lost. Those of a persistent listener that have
 * not been sent wait for the next channel; any other listener is closed, and with it the delivery. */
static void channel_end(DeliveryChannel *c) {
        Delivery *d = &c->delivery;

        (void) channel_count_read(c);
        delivery_lose_sent(d, EPIPE);
        if (!d->parameters.options->persistent)
                delivery_lose_waiting(d, EPIPE);

        channel_close(c);
        d->holder = DELIVERY_HOLDER_NONE;
        d->parameters.events->channel_ended(d->parameters.userdata);
}

static int on_channel(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        DeliveryChannel *c = userdata;
        Delivery *d = &c->delivery;

        if (revents & (EPOLLHUP | EPOLLERR)) {
                channel_end(c);
                return 0;
        }

        (void) channel_count_read(c);
        channel_note_read(c);
        delivery_tell_room(d);
        return 0;
}

static int measure_packet(const int pair[static 2], uint32_t n, unsigned *ret) {
        ChannelRecord records[CHANNEL_BATCH_MAX] = {};
        Packet packet;
        int r, size;

        packet_init(&packet, records, n * sizeof(*records));
        r = packet_send(&packet, pair[0], NULL, 0);
        if (r < 0)
                return r;
        if (ioctl(pair[0], SIOCOUTQ, &size) < 0 || size <= 0)
                return -EIO;

        r = packet_discard(pair[1], 1);
        if (r < 0)
                return r;

        *ret = (unsigned) size;
        return 0;
}

/* Finds out how much memory the kernel takes for packets. Their descriptors do not count. */
static int channel_measure_packets(DeliveryChannel *c) {
        int pair[2], r = 0;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;

        for (uint32_t n = 1; n <= channel_get_batch(c) && r >= 0; n++)
                r = measure_packet(pair, n, c->memory + n);

        (void) close_fd(pair[0]);
        (void) close_fd(pair[1]);
        return r;
}

/* The client could bind its end to an abstract name in the network namespace of the service, also from a
 * sandbox with a namespace of its own. A socket can be bound only once, and so the kernel chooses a name now.
 */
static int channel_fix_name(int fd) {
        struct sockaddr_un unnamed = { .sun_family = AF_UNIX };

        return bind(fd, (struct sockaddr *) &unnamed, sizeof(unnamed.sun_family)) < 0 ? -errno : 0;
}

static int channel_add_source(DeliveryChannel *c, int fd) {
        return sd_event_add_io(c->delivery.parameters.event, &c->source, fd, CHANNEL_EVENTS | EPOLLOUT,
                               on_channel, c);
}

int delivery_channel_open(Delivery *d) {
        DeliveryChannel *c;
        int pair[2], r;

        if (!delivery_is(d, DELIVERY_CHANNEL))
                return -EOPNOTSUPP;

        c = from_delivery(d);
        if (c->ours >= 0)
                return -EALREADY;

        r = channel_measure_packets(c);
        if (r < 0)
                return r;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;

        /* So that the client cannot send descriptors into the service. */
        r = shutdown(pair[0], SHUT_RD) < 0 ? -errno : 0;
        if (r >= 0)
                r = channel_fix_name(pair[1]);
        if (r >= 0)
                r = channel_add_source(c, pair[0]);
        if (r < 0) {
                (void) close_fd(pair[0]);
                (void) close_fd(pair[1]);
                return r;
        }

        c->ours = pair[0];
        c->reset = false;
        c->ends = PACKET_ENDS_INIT;
        d->holder = DELIVERY_HOLDER_NONE; /* of an earlier channel, which was not restored */
        delivery_set_holder(d);
        return pair[1];
}

static void channel_take_back(Delivery *d) {
        channel_close(from_delivery(d));
        d->holder = DELIVERY_HOLDER_NONE;
}

int delivery_channel_save(Delivery *d, Store *store, StateSlot *slot) {
        DeliveryChannel *c = from_delivery(d);

        assert(c->ours >= 0);

        c->slot = slot;
        channel_set_ends(c, c->ends);
        return store_save_channel(store, slot, c->ours, &c->saved);
}

bool delivery_channel_is_unsaved(Delivery *d) {
        DeliveryChannel *c;

        if (!delivery_is(d, DELIVERY_CHANNEL))
                return false;

        c = from_delivery(d);
        return c->ours >= 0 && !c->saved;
}

void delivery_channel_count(Delivery *d) {
        if (delivery_is(d, DELIVERY_CHANNEL))
                (void) channel_count_read(from_delivery(d));
}

int delivery_channel_restore(Delivery *d, StoreFound *found, StateSlot *slot) {
        DeliveryChannel *c;
        int fd = found->fd, r, size;

        if (!delivery_is(d, DELIVERY_CHANNEL))
                return -EINVAL;

        c = from_delivery(d);
        if (c->ours >= 0 || ioctl(fd, SIOCOUTQ, &size) < 0 || size < 0)
                return -EINVAL;

        r = channel_measure_packets(c);
        if (r < 0)
                return r;

        r = channel_add_source(c, fd);
        if (r < 0)
                return r;

        /* A hang-up may close the listener, which is reported to the owner. channel_set_owner() enables the
         * source. */
        (void) sd_event_source_set_enabled(c->source, SD_EVENT_OFF);
        c->ours = TAKE_FD(found->fd);
        c->saved = TAKE_PTR(found->entry);
        c->slot = slot;
        c->ends = slot->channel_ends;

        /* The unread connections are still in the channel. Only their number is known. */
        d->n_restored = channel_count_connections(c, (unsigned) size, UNREAD_MAX);
        return 0;
}

static void channel_set_owner(Delivery *d, Outbox *outbox) {
        DeliveryChannel *c = from_delivery(d);

        (void) channel_count_read(c);

        /* The next owner opens a channel of its own. */
        if (c->ours >= 0 && d->parameters.options->persistent && channel_shut_down_if_closed(c))
                channel_end(c);
        if (c->source)
                (void) sd_event_source_set_enabled(c->source, SD_EVENT_ON);
}

static Delivery *channel_free(Delivery *d) {
        DeliveryChannel *c = from_delivery(d);

        channel_close(c);
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
        .take_back = channel_take_back,
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
