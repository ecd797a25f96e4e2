/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "base/socket.h"
#include "daemon/delivery/delivery-pull.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener-accept.h"
#include "daemon/listener/listener-save.h"
#include "daemon/listener/listener.h"
#include "daemon/policy/options.h"
#include "daemon/policy/prefix.h"
#include "daemon/store/spool.h"

/* Connections in a row, so that a listener with a long queue does not delay the others. */
#define ACCEPT_BATCH 16

#define BACK_OFF_MIN_USEC (UINT64_C(50) * 1000)
#define BACK_OFF_MAX_USEC (UINT64_C(1000) * 1000)
#define EPISODE_QUIET_USEC (UINT64_C(1000) * 1000)

/* The client is told after so long without room for another connection. */
#define STALL_USEC (UINT64_C(5) * 1000 * 1000)
#define STALL_QUIET_USEC (UINT64_C(60) * 1000 * 1000)

#define NS_PER_S UINT64_C(1000000000)
#define TOLERANCE_NS (NS_PER_S / 100)

void pacer_init(Pacer *pacer, uint32_t per_second) {
        *pacer = (Pacer) { .interval_ns = per_second > 0 ? NS_PER_S / per_second : 0 };
        if (per_second > 0 && pacer->interval_ns == 0)
                pacer->interval_ns = 1;
}

uint64_t pacer_get_next(const Pacer *pacer) {
        return pacer->arrival_ns > TOLERANCE_NS ? pacer->arrival_ns - TOLERANCE_NS : 0;
}

void pacer_count(Pacer *pacer, uint64_t now_ns) {
        if (pacer->arrival_ns < now_ns)
                pacer->arrival_ns = now_ns;
        pacer->arrival_ns += pacer->interval_ns;
}

static int on_hold_over(sd_event_source *s, uint64_t usec, void *userdata) {
        Listener *l = userdata;

        l->hold = LISTENER_HOLD_NONE;
        listener_serve(l);
        return 0;
}

/* Accepts nothing until a point in time on CLOCK_MONOTONIC. */
static void listener_start_hold(Listener *l, ListenerHold hold, uint64_t until_usec) {
        int r;

        assert(hold != LISTENER_HOLD_NONE);

        l->hold = hold;

        if (!l->hold_timer) {
                r = sd_event_add_time(l->event, &l->hold_timer, CLOCK_MONOTONIC, until_usec, 1, on_hold_over,
                                      l);
        } else {
                r = sd_event_source_set_time(l->hold_timer, until_usec);
                if (r >= 0)
                        r = sd_event_source_set_enabled(l->hold_timer, SD_EVENT_ONESHOT);
        }
        if (r < 0) {
                /* Without memory. The listener accepts too early rather than never. */
                log_warning("Failed to set a timer for %s: %s", l->path, strerror(-r));
                l->hold = LISTENER_HOLD_NONE;
        }
}

/* Out of descriptors or memory: accepts again after a delay that doubles with each failure. */
static void listener_back_off(Listener *l, int error) {
        uint64_t now = clock_get_usec();

        if (l->back_off_usec == 0)
                l->back_off_usec = BACK_OFF_MIN_USEC;
        else if (l->back_off_usec < BACK_OFF_MAX_USEC / 2)
                l->back_off_usec *= 2;
        else
                l->back_off_usec = BACK_OFF_MAX_USEC;

        if (episode_add_failure(&l->shortage, now, l->back_off_usec + EPISODE_QUIET_USEC))
                listener_error(l, MESSAGE_EXHAUSTED_STR, NULL, -error, ERROR_ACCEPT_SUSPENDED);

        listener_start_hold(l, LISTENER_HOLD_SHORTAGE, now + l->back_off_usec);
}

/* Sends waiting connections: new ones, and those that wait since a failure or for a new owner. */
static void listener_push(Listener *l, bool more) {
        int r;

        if (l->delivery->n_waiting == 0 && !l->pushed_more)
                return;
        if (l->frozen || l->hold == LISTENER_HOLD_SHORTAGE)
                return;

        l->pushed_more = more;
        r = l->delivery->ops->push(l->delivery, more);
        if (r < 0)
                listener_back_off(l, -r);
}

/* Adds a connection to the delivery. Consumes fd and the entry in the store. Returns a negative errno if the
 * connection is lost. */
static int listener_add_connection(Listener *l, int fd, const Address *peer, SpoolEntry *saved) {
        Handoff *handoff;
        Address local;
        int r;

        r = socket_get_arrival_address(fd, &l->address, &local);
        if (r < 0)
                (void) close_fd(fd);
        else
                r = handoff_new(fd, peer, &local, l->accepted, &handoff);
        if (r < 0) {
                (void) spool_drop(saved);
                return r;
        }

        handoff->saved = saved;
        delivery_add(l->delivery, handoff);
        return 0;
}

typedef enum AcceptResult {
        ACCEPTED, /* or refused or skipped: the next connection may follow */
        NOTHING,  /* no connection, or a shortage */
        CLOSED,   /* the listener was freed */
} AcceptResult;

static AcceptResult listener_handle_accept_error(Listener *l, int error) {
        switch (socket_classify_accept_error(error)) {

        case ACCEPT_AGAIN:
                return NOTHING;

        case ACCEPT_SKIP:
                log_debug("Skipping a connection to %s that failed before accept(): %s", l->path,
                          strerror(error));
                return ACCEPTED;

        case ACCEPT_EXHAUSTED:
                listener_back_off(l, error);
                return NOTHING;

        default:
                listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL, -error, ERROR_SOCKET_FAILED);
                listener_close(l, LISTENER_END_ERROR);
                return CLOSED;
        }
}

/* Consumes fd. */
static AcceptResult listener_hand_over(Listener *l, int fd, const Address *peer) {
        SpoolEntry *saved = NULL;
        int r, scarce; /* 0, or the negative errno of a shortage */

        scarce = listener_save_connection(l, fd, peer, &saved);
        l->accepted++;
        listener_save_state(l);
        if (l->pacer.interval_ns > 0)
                pacer_count(&l->pacer, clock_get_ns());

        r = listener_add_connection(l, fd, peer, saved);
        if (r < 0)
                listener_count_lost(l, peer, -r);

        /* Before the next accept(), for a short latency. */
        listener_push(l, true);
        if (scarce == 0 && l->delivery->n_waiting >= l->options->channel_batch)
                scarce = listener_save_unsent(l); /* the channel is full */

        /* The last descriptors are reserved for the bus. */
        if (scarce == 0 && descriptor_is_in_reserve(fd))
                scarce = -EMFILE;

        if (scarce < 0) {
                listener_push(l, false);
                listener_back_off(l, -scarce);
                return NOTHING;
        }

        return ACCEPTED;
}

static bool listener_allows(const Listener *l, int fd, const Address *peer) {
        char name[IF_NAMESIZE];
        bool has_name = address_is_link_local(peer) &&
                        socket_get_interface_name(fd, peer->in6.sin6_scope_id, name) == 0;

        return prefix_any_contains(l->options->allow_from, l->options->n_allow_from, peer,
                                   has_name ? name : NULL);
}

static void listener_log_refused(const Listener *l, const Address *peer) {
        LogFields fields = listener_log_fields(l);
        char address[ADDRESS_STRING_MAX];

        if (log_get_level() < LOG_DEBUG)
                return;

        fields.peer = address_format(peer, address);
        log_event(LOG_DEBUG, NULL, &fields,
                  "Refusing a connection to %s from %s port %u, which allowFrom does not have", l->path,
                  address, (unsigned) address_get_port(peer));
}

static AcceptResult listener_accept_one(Listener *l) {
        struct sockaddr_storage storage;
        socklen_t size = sizeof(storage);
        Address peer;
        int r, fd;

        fd = accept4(l->fd, (struct sockaddr *) &storage, &size,
                     SOCK_CLOEXEC | (l->options->non_blocking ? SOCK_NONBLOCK : 0));
        if (fd < 0) {
                int error = errno;

                /* What was collected for a packet does not wait for the end of a shortage. */
                listener_push(l, false);
                return listener_handle_accept_error(l, error);
        }

        l->back_off_usec = 0;
        peer = address_from_kernel(&storage);

        if (l->options->n_allow_from > 0 && !listener_allows(l, fd, &peer)) {
                listener_log_refused(l, &peer);
                (void) close_fd(fd);
                l->refused++;
                listener_save_state(l);
                return ACCEPTED;
        }

        r = socket_set_owner(fd, l->uid);
        if (r < 0) {
                (void) close_fd(fd);
                l->accepted++;
                listener_count_lost(l, &peer, -r);
                return ACCEPTED;
        }

        return listener_hand_over(l, fd, &peer);
}

static bool listener_is_stopped(const Listener *l) {
        return l->frozen || l->paused || l->hold != LISTENER_HOLD_NONE;
}

/* Returns whether the next connection may be accepted now. If not, listener_serve() is called when it may: by
 * the delivery if it has no room, by the timer if the rate is reached. */
static bool listener_request_accept(Listener *l) {
        uint64_t next;

        if (listener_is_stopped(l) || l->delivery->ops->request_room(l->delivery) == 0)
                return false;

        if (l->pacer.interval_ns > 0) {
                next = pacer_get_next(&l->pacer);
                if (next > clock_get_ns()) {
                        listener_start_hold(l, LISTENER_HOLD_RATE, next / 1000 + 1);
                        return l->hold == LISTENER_HOLD_NONE;
                }
        }

        return true;
}

static bool listener_wants_pending(Listener *l) {
        return !listener_is_stopped(l) && delivery_pull_wants_pending(l->delivery);
}

static int on_stall_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Listener *l = userdata;

        if (l->stopped_usec == 0)
                return 0;

        if (usec < l->stopped_usec + STALL_USEC) {
                (void) sd_event_source_set_time(s, l->stopped_usec + STALL_USEC);
                return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        }

        if (episode_add_failure(&l->stall, usec, STALL_QUIET_USEC))
                listener_error(l, MESSAGE_CLIENT_STALLED_STR, NULL, 0, ERROR_CLIENT_STALLED);
        return 0;
}

/* The timer is not stopped when the client takes a connection: a listener under load stops often, and for
 * microseconds. */
static void listener_start_stall(Listener *l) {
        int r = 0;

        l->stopped_usec = clock_get_usec();
        if (!l->stall_timer)
                r = sd_event_add_time(l->event, &l->stall_timer, CLOCK_MONOTONIC,
                                      l->stopped_usec + STALL_USEC, 0, on_stall_timer, l);
        else if (sd_event_source_get_enabled(l->stall_timer, NULL) == 0) {
                r = sd_event_source_set_time(l->stall_timer, l->stopped_usec + STALL_USEC);
                if (r >= 0)
                        r = sd_event_source_set_enabled(l->stall_timer, SD_EVENT_ONESHOT);
        }
        if (r < 0)
                log_warning("Failed to set a timer for %s: %s", l->path, strerror(-r));
}

/* Whether the listener has stopped because the client has not taken earlier connections. The delivery "call"
 * reports calls without an answer itself, also while others are answered. With "socket", the client accepts.
 */
static bool listener_waits_for_client(Listener *l) {
        if (listener_is_stopped(l) || !l->owner_name)
                return false;

        switch (l->options->delivery) {
        case DELIVERY_CALL:
        case DELIVERY_SOCKET:
                return false;
        case DELIVERY_CHANNEL:
                return l->delivery->holder != DELIVERY_HOLDER_NONE;
        case DELIVERY_PULL:
                return delivery_pull_is_called(l->delivery);
        default:
                return true;
        }
}

static void listener_watch(Listener *l, bool watch) {
        int r;

        if (watch || !listener_waits_for_client(l))
                l->stopped_usec = 0;
        else if (l->stopped_usec == 0)
                listener_start_stall(l);

        r = sd_event_source_set_enabled(l->accept_source, watch ? SD_EVENT_ON : SD_EVENT_OFF);
        if (r < 0) {
                listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL, r, ERROR_WATCH_FAILED);
                listener_close(l, LISTENER_END_ERROR);
        }
}

/* A multiple of the connections in a packet of a channel, so that a long queue fills all packets. */
static uint32_t listener_get_accept_batch(const Listener *l) {
        uint32_t packet = l->options->channel_batch;

        if (packet == 0)
                return ACCEPT_BATCH;

        return packet < ACCEPT_BATCH ? ACCEPT_BATCH / packet * packet : packet;
}

void listener_serve(Listener *l) {
        uint32_t batch = listener_get_accept_batch(l);
        int r;

        assert(l->delivery);

        listener_push(l, false);
        if (l->delivery->n_waiting > 0 && listener_wants_pending(l))
                delivery_pull_send_pending(l->delivery);

        for (uint32_t n = 0; n < batch && listener_request_accept(l); n++) {
                AcceptResult result;

                result = listener_accept_one(l);
                if (result == CLOSED)
                        return;
                if (result == NOTHING)
                        break;
        }

        listener_push(l, false);
        r = listener_save_unsent(l);
        if (r < 0 && l->hold != LISTENER_HOLD_SHORTAGE)
                listener_back_off(l, -r);

        listener_watch(l, listener_request_accept(l) || listener_wants_pending(l));
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Listener *l = userdata;
        const ListenerEvents *events = l->events;
        void *events_userdata = l->userdata;

        /* Another holder of the socket may have accepted the connection after the event. */
        if (listener_wants_pending(l) && !listener_request_accept(l) && socket_has_input(l->fd))
                delivery_pull_send_pending(l->delivery);

        listener_serve(l);
        events->turn(events_userdata);
        return 0;
}

int listener_add_accept_source(Listener *l) {
        int r;

        r = sd_event_add_io(l->event, &l->accept_source, l->fd, EPOLLIN, on_connection, l);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(l->accept_source, SD_EVENT_OFF);
}
