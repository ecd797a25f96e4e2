/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "base/descriptors.h"
#include "base/linger.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "base/names.h"
#include "base/prefix.h"
#include "base/socket.h"
#include "base/vault.h"
#include "daemon/delivery.h"
#include "daemon/listener.h"
#include "daemon/options.h"
#include "daemon/store-found.h"
#include "daemon/store.h"

/* A listener with a long queue gives way to the others after so many. */
#define ACCEPT_BATCH 16

#define BACK_OFF_MIN_USEC (UINT64_C(50) * 1000)
#define BACK_OFF_MAX_USEC (UINT64_C(1000) * 1000)
#define EPISODE_QUIET_USEC (UINT64_C(1000) * 1000)

const char *listener_end_to_string(ListenerEnd end) {
        static const char *const names[] = {
                [LISTENER_END_OWNER] = "owner",
                [LISTENER_END_LIFETIME] = "lifetime",
                [LISTENER_END_ADMINISTRATOR] = "administrator",
                [LISTENER_END_ERROR] = "error",
                [LISTENER_END_SHUTDOWN] = "shutdown",
        };

        return names[end];
}

static LogFields listener_log_fields(const Listener *l) {
        return (LogFields) {
                .listener = l->path,
                .owner = l->owner_name,
                .has_owner_uid = true,
                .owner_uid = l->uid,
                .port = address_get_port(&l->address),
        };
}

static void listener_raise(Listener *l,
                           const char *message_id,
                           const char *peer,
                           const char *file,
                           uint32_t line,
                           const char *format,
                           ...) _printf_(6, 7);

static void listener_raise(Listener *l,
                           const char *message_id,
                           const char *peer,
                           const char *file,
                           uint32_t line,
                           const char *format,
                           ...) {
        LogFields fields = listener_log_fields(l);
        char message[512];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);

        fields.peer = peer;
        log_event_at(LOG_WARNING, message_id, file, (int) line, &fields, "%s of user %u: %s",
                     l->path, (unsigned) l->uid, message);
        l->events->error(l, &(ListenerError) { .message = message, .file = file, .line = line }, l->userdata);
}

/* Tells the log and the owner, with this very place in the source. */
#define listener_error(l, message_id, peer, ...) \
        listener_raise(l, message_id, peer, __FILE_NAME__, __LINE__, __VA_ARGS__)

static uint64_t now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

/* Whatever has changed, the next process will know. */
static void listener_note(Listener *l) {
        if (!l->slot)
                return;

        l->slot->accepted = l->accepted;
        l->slot->delivered = l->delivered;
        l->slot->refused = l->refused;
        l->slot->lost = l->lost;
        l->slot->flags = l->paused ? STATE_PAUSED : 0;
}

static void listener_serve(Listener *l);

static int on_hold_over(sd_event_source *s, uint64_t usec, void *userdata) {
        Listener *l = userdata;

        l->held = false;
        listener_serve(l);
        return 0;
}

/* Accepts nothing until a point in time on CLOCK_MONOTONIC. */
static void listener_hold(Listener *l, uint64_t until_usec) {
        int r;

        l->held = true;

        if (!l->hold_timer) {
                r = sd_event_add_time(l->event, &l->hold_timer, CLOCK_MONOTONIC, until_usec, 1, on_hold_over, l);
        } else {
                r = sd_event_source_set_time(l->hold_timer, until_usec);
                if (r >= 0)
                        r = sd_event_source_set_enabled(l->hold_timer, SD_EVENT_ONESHOT);
        }
        if (r < 0) {
                /* Only for want of memory. Better to go on too early than never. */
                log_warning("%s: cannot set a timer: %s", l->path, strerror(-r));
                l->held = false;
        }
}

/* Out of descriptors or memory: tries again from time to time until it works. Tells once an episode, which is
 * over when it has worked for a while: with one descriptor to spare it works and fails in turn. */
static void listener_back_off(Listener *l, int error) {
        uint64_t now = now_ns() / 1000;

        if (now > l->episode_end_usec)
                listener_error(l, MESSAGE_EXHAUSTED_STR, NULL,
                               "Connections have to wait, the service cannot accept them: %s", strerror(error));

        if (l->back_off_usec == 0)
                l->back_off_usec = BACK_OFF_MIN_USEC;
        else if (l->back_off_usec < BACK_OFF_MAX_USEC / 2)
                l->back_off_usec *= 2;
        else
                l->back_off_usec = BACK_OFF_MAX_USEC;

        l->episode_end_usec = now + l->back_off_usec + EPISODE_QUIET_USEC;
        listener_hold(l, now + l->back_off_usec);
}

/* Hands over what waits: it was just accepted, is for a new owner, or did not work the last time. */
static void listener_push(Listener *l, bool more) {
        int r;

        if (l->delivery->n_waiting == 0 && !l->pushed_more)
                return;
        if (l->leaving || (l->held && l->back_off_usec > 0))
                return;

        l->pushed_more = more;
        r = l->delivery->ops->push(l->delivery, more);
        if (r < 0)
                listener_back_off(l, -r);
}

/* Where the connection arrived: what the listener is bound to, unless it is bound to any address. */
static int get_local_address(const Listener *l, int fd, Address *ret) {
        if (address_is_any(&l->address))
                return socket_get_local_address(fd, ret);

        *ret = l->address;
        return 0;
}

/* Consumes fd and what was kept of it. Returns 0 or a negative errno: the connection is lost then. */
static int listener_take(Listener *l, int fd, const Address *peer, VaultEntry *kept) {
        Handoff *handoff;
        Address local;
        int r;

        r = get_local_address(l, fd, &local);
        if (r < 0)
                (void) close_fd(fd);
        else
                r = handoff_new(fd, peer, &local, l->accepted, &handoff);
        if (r < 0) {
                (void) vault_drop(kept);
                return r;
        }

        handoff->kept = kept;
        delivery_add(l->delivery, handoff);
        return 0;
}

/* From here on the connection outlives the process. Between accept() and this is all that a crash can cost. */
static int listener_keep(Listener *l, int fd, const Address *peer, VaultEntry **ret) {
        /* It is in nobody's but the client's hands before the next one is accepted. */
        if (!l->slot || l->delivery->ops->is_direct)
                return 0;

        return store_keep_connection(l->store, l->id, l->accepted + 1, fd, peer, ret);
}

/* What should have been handed over at once waits after all. */
static int listener_keep_waiting(Listener *l) {
        Handoff *handoff;
        int r;

        if (!l->slot)
                return 0;

        TAILQ_FOREACH(handoff, &l->delivery->waiting, delivery_link) {
                if (handoff->kept)
                        continue;
                r = store_keep_connection(l->store, l->id, handoff->serial, handoff->fd, &handoff->peer, &handoff->kept);
                if (r < 0)
                        return r;
        }

        return 0;
}

static void listener_count_lost(Listener *l, const Address *peer, int error) {
        char address[ADDRESS_STRING_MAX];

        l->lost++;
        listener_note(l);
        (void) address_format(peer, address);
        listener_error(l, MESSAGE_CONNECTION_LOST_STR, address, "The connection from %s port %u is lost: %s",
                       address, address_get_port(peer), strerror(error));
}

typedef enum AcceptResult {
        ACCEPTED,  /* or refused, or skipped: the next one may follow */
        NOTHING,   /* for now */
        CLOSED,    /* the listener is gone */
} AcceptResult;

static AcceptResult listener_accept_one(Listener *l) {
        struct sockaddr_storage storage;
        socklen_t size = sizeof(storage);
        VaultEntry *kept = NULL;
        Address peer;
        int fd, r, scarce;

        fd = accept4(l->fd, (struct sockaddr *) &storage, &size,
                     SOCK_CLOEXEC | (l->options->non_blocking ? SOCK_NONBLOCK : 0));
        if (fd < 0) {
                int error = errno;

                switch (socket_classify_accept_error(error)) {

                case ACCEPT_AGAIN:
                        return NOTHING;

                case ACCEPT_SKIP:
                        log_debug("%s: a connection failed before it was accepted: %s", l->path, strerror(error));
                        return ACCEPTED;

                case ACCEPT_EXHAUSTED:
                        listener_back_off(l, error);
                        return NOTHING;

                default:
                        listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL,
                                       "The listener is closed, its socket failed: %s", strerror(error));
                        listener_close(l, LISTENER_END_ERROR);
                        return CLOSED;
                }
        }

        l->back_off_usec = 0;
        peer = address_from_kernel(&storage);

        if (l->options->n_allow_from > 0 &&
            !prefix_any_contains(l->options->allow_from, l->options->n_allow_from, &peer)) {
                (void) close_fd(fd);
                l->refused++;
                listener_note(l);
                return ACCEPTED;
        }

        scarce = listener_keep(l, fd, &peer, &kept);
        l->accepted++;
        listener_note(l);
        if (l->pacer.interval_ns > 0)
                pacer_count(&l->pacer, now_ns());

        /* Before the very last one is gone; what was accepted is handed over all the same. */
        if (scarce == 0 && descriptor_is_in_reserve(fd))
                scarce = -EMFILE;

        r = listener_take(l, fd, &peer, kept);
        if (r < 0)
                listener_count_lost(l, &peer, -r);

        /* Before the next one, so that the client is not kept waiting. */
        listener_push(l, true);
        if (l->delivery->ops->is_direct && scarce == 0 && l->delivery->n_waiting > 0)
                scarce = listener_keep_waiting(l);

        if (scarce < 0) {
                listener_push(l, false);
                listener_back_off(l, -scarce);
                return NOTHING;
        }

        return ACCEPTED;
}

/* Whether the next connection may be accepted now. */
static bool listener_is_ready(Listener *l) {
        uint64_t next;

        if (l->leaving || l->paused || l->held || l->delivery->ops->get_room(l->delivery) == 0)
                return false;

        if (l->pacer.interval_ns > 0) {
                next = pacer_get_next(&l->pacer);
                if (next > now_ns()) {
                        listener_hold(l, next / 1000 + 1);
                        return !l->held;
                }
        }

        return true;
}

/* Whether the client wants to know that a connection waits, though there is no room for it. */
static bool listener_wants_notice(Listener *l) {
        const DeliveryOps *ops = l->delivery->ops;

        return !l->leaving && !l->paused && !l->held && ops->wants_notice && ops->wants_notice(l->delivery);
}

/* Gives notice of what was already accepted, for an owner who is gone. What is in the queue still, the event
 * source will tell. */
static void listener_notice_waiting(Listener *l) {
        if (l->delivery->n_waiting > 0 && listener_wants_notice(l))
                l->delivery->ops->notice(l->delivery);
}

static void listener_watch(Listener *l, bool watch) {
        int r;

        r = sd_event_source_set_enabled(l->accept_source, watch ? SD_EVENT_ON : SD_EVENT_OFF);
        if (r < 0) {
                listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL,
                               "The listener is closed, it cannot wait for connections: %s", strerror(-r));
                listener_close(l, LISTENER_END_ERROR);
        }
}

/* Accepts and hands over what it may now, and sees to it that it is woken up for the rest. */
static void listener_serve(Listener *l) {
        listener_push(l, false);
        listener_notice_waiting(l);

        for (unsigned n = 0; n < ACCEPT_BATCH && listener_is_ready(l); n++) {
                AcceptResult result;

                result = listener_accept_one(l);
                if (result == CLOSED)
                        return;
                if (result == NOTHING)
                        break;
        }

        listener_push(l, false);

        listener_watch(l, listener_is_ready(l) || listener_wants_notice(l));
}

static int on_connection(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Listener *l = userdata;

        /* Somebody else may have taken it since the kernel told. */
        if (listener_wants_notice(l) && !listener_is_ready(l) && socket_has_input(l->fd))
                l->delivery->ops->notice(l->delivery);

        listener_serve(l);
        return 0;
}

static int on_lifetime(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        listener_close(userdata, LISTENER_END_LIFETIME);
        return 0;
}

static void on_room(void *userdata) {
        listener_serve(userdata);
}

static void on_delivered(uint32_t n, void *userdata) {
        Listener *l = userdata;

        l->delivered += n;
        listener_note(l);
}

static void on_lost(const Address *peer, int error, void *userdata) {
        listener_count_lost(userdata, peer, error);
}

static void on_failed(const char *message, void *userdata) {
        Listener *l = userdata;

        if (message)
                listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL, "%s", message);
        listener_close(l, message ? LISTENER_END_ERROR : LISTENER_END_OWNER);
}

static const DeliveryEvents delivery_events = {
        .room = on_room,
        .delivered = on_delivered,
        .lost = on_lost,
        .failed = on_failed,
};

static int listener_open(Listener *l, const ListenOptions *o) {
        l->fd = socket_listen(&(SocketSettings) {
                .address = o->address,
                .fall_back_to_ipv4 = !o->address_given,
                .ipv6_only = o->ipv6_only,
                .interface = o->interface,
                .backlog = o->backlog,
                .no_delay = o->no_delay,
                .keep_alive = o->keep_alive,
                .defer_accept = o->defer_accept,
                .fast_open = o->fast_open,
        });
        if (l->fd < 0)
                return l->fd;
        return descriptor_is_in_reserve(l->fd) ? -EMFILE : 0;
}

static int listener_add_sources(Listener *l, const ListenOptions *o) {
        int r;

        r = sd_event_add_io(l->event, &l->accept_source, l->fd, EPOLLIN, on_connection, l);
        if (r < 0)
                return r;

        r = sd_event_source_set_enabled(l->accept_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        if (o->lifetime < 0)
                return 0;

        /* Errors and hang-ups are always waited for, which is how the end of a pipe that can only be written
         * to is seen. */
        return sd_event_add_io(l->event, &l->lifetime_source, o->lifetime, EPOLLIN | EPOLLRDHUP, on_lifetime, l);
}

DEFINE_CLEANUP(Listener, listener_free)

static int listener_make(sd_event *event,
                         uint64_t id,
                         uid_t uid,
                         const ListenOptions *options,
                         const ListenerEvents *events,
                         void *userdata,
                         Listener **ret) {
        _cleanup_(listener_freep) Listener *l = NULL;

        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;

        l->id = id;
        l->uid = uid;
        l->fd = -EBADF;
        l->events = events;
        l->userdata = userdata;
        l->event = sd_event_ref(event);
        l->paused = options->paused;
        pacer_init(&l->pacer, options->accept_rate);

        if (asprintf(&l->path, LISTENER_PREFIX "/%llu", (unsigned long long) id) < 0)
                return -ENOMEM;

        *ret = TAKE_PTR(l);
        return 0;
}

/* All that there is to do with a socket that listens. */
static int listener_set_up(Listener *l, const ListenOptions *o) {
        int r;

        r = socket_get_local_address(l->fd, &l->address);
        if (r < 0)
                return r;

        r = socket_get_backlog(l->fd, &l->backlog);
        if (r < 0)
                return r;

        r = listener_add_sources(l, o);
        if (r < 0)
                return r;

        return delivery_ops_from_name(o->delivery)->new(
                        &(DeliveryParameters) {
                                .event = l->event,
                                .path = l->path,
                                .options = o,
                                .events = &delivery_events,
                                .userdata = l,
                        },
                        &l->delivery);
}

int listener_new(sd_event *event,
                 uint64_t id,
                 uid_t uid,
                 ListenOptions *options,
                 Store *store,
                 const ListenerEvents *events,
                 void *userdata,
                 Listener **ret) {
        _cleanup_(listener_freep) Listener *l = NULL;
        int r;

        r = listener_make(event, id, uid, options, events, userdata, &l);
        if (r < 0)
                return r;

        r = listener_open(l, options);
        if (r < 0)
                return r;

        r = listener_set_up(l, options);
        if (r < 0)
                return r;

        if (store) {
                l->store = store;
                r = store_keep_listener(store, id, uid, l->fd, options, &l->slot, &l->kept);
                if (r < 0)
                        log_warning("%s of user %u will end with this process, it cannot be kept: %s",
                                    l->path, (unsigned) uid, strerror(-r));
                listener_note(l);
        }

        l->options = options;
        *ret = TAKE_PTR(l);
        return 0;
}

int listener_restore(sd_event *event,
                     StoreFound *found,
                     Store *store,
                     const ListenerEvents *events,
                     void *userdata,
                     Listener **ret) {
        _cleanup_(listener_freep) Listener *l = NULL;
        int r;

        r = listener_make(event, found->id, found->uid, found->options, events, userdata, &l);
        if (r < 0)
                return r;

        l->fd = TAKE_FD(found->fds[0]);
        found->options->lifetime = TAKE_FD(found->fds[1]);
        l->paused = found->state.flags & STATE_PAUSED;
        l->accepted = found->state.accepted;
        l->delivered = found->state.delivered;
        l->refused = found->state.refused;
        l->lost = found->state.lost;

        r = listener_set_up(l, found->options);
        if (r < 0)
                return r;

        l->store = store;
        l->slot = TAKE_PTR(found->slot);
        l->kept = TAKE_PTR(found->entry);
        l->options = TAKE_PTR(found->options);
        *ret = TAKE_PTR(l);
        return 0;
}

int listener_restore_channel(Listener *l, StoreFound *found) {
        int r;

        if (!l->delivery->ops->restore_channel)
                return -EINVAL;

        r = l->delivery->ops->restore_channel(l->delivery, found->fds[0], found->packet_size);
        if (r < 0)
                return r;

        TAKE_FD(found->fds[0]);
        l->delivery->kept_channel = TAKE_PTR(found->entry);
        return 0;
}

int listener_restore_connection(Listener *l, StoreFound *found) {
        Handoff *handoff;
        Address local;
        int r;

        r = get_local_address(l, found->fds[0], &local);
        if (r < 0)
                return r;

        r = handoff_new(TAKE_FD(found->fds[0]), &found->peer, &local, found->serial, &handoff);
        if (r < 0)
                return r;

        handoff->kept = TAKE_PTR(found->entry);
        delivery_add(l->delivery, handoff);

        if (l->accepted < found->serial)
                l->accepted = found->serial;
        return 0;
}

void listener_restore_counters(Listener *l) {
        uint64_t rest = l->lost + delivery_get_in_flight(l->delivery);

        /* Any of them may have been sent, and its client may say so only now. */
        l->delivery->last_sent = l->accepted;
        l->delivered = l->accepted > rest ? l->accepted - rest : 0;
        listener_note(l);
}

bool listener_is_kept(const Listener *l) {
        const Delivery *d = l->delivery;
        unsigned packet_size;

        if (!l->slot)
                return false;

        /* Without its channel it is of no use, unless another one may be opened. */
        return l->options->persistent || d->kept_channel || !d->ops->get_channel ||
               d->ops->get_channel(l->delivery, &packet_size) < 0;
}

void listener_leave(Listener *l) {
        l->leaving = true;
        (void) sd_event_source_set_enabled(l->accept_source, SD_EVENT_OFF);
        if (l->delivery->ops->leave)
                l->delivery->ops->leave(l->delivery);
}

static void listener_stop(Listener *l) {
        linger_limit(); /* what came as its lifetime is closed */
        l->accept_source = sd_event_source_disable_unref(l->accept_source);
        l->lifetime_source = sd_event_source_disable_unref(l->lifetime_source);
        l->hold_timer = sd_event_source_disable_unref(l->hold_timer);
        l->fd = close_fd(l->fd);
        if (l->slot)
                store_drop_listener(l->store, l->slot, l->kept);
        l->slot = NULL;
        l->kept = NULL;
}

void listener_close(Listener *l, ListenerEnd end) {
        /* Its owner's wish ends the others as well. */
        if (end == LISTENER_END_SHUTDOWN)
                delivery_lose_all(l->delivery, ENOTCONN);

        uint32_t n = delivery_get_in_flight(l->delivery);
        LogFields fields = listener_log_fields(l);

        log_event(LOG_DEBUG, NULL, &fields,
                  "%s of user %u is closed (%s), with %u connections that nobody had confirmed yet",
                  l->path, (unsigned) l->uid, listener_end_to_string(end), (unsigned) n);

        if (l->delivery->ops->revoke)
                l->delivery->ops->revoke(l->delivery, l->fd);
        listener_stop(l);
        l->events->closed(l, end, l->userdata);
        (void) listener_free(l);
}

Listener *listener_free(Listener *l) {
        if (!l)
                return NULL;

        listener_stop(l);
        if (l->delivery)
                (void) l->delivery->ops->free(l->delivery);
        quota_discharge(&l->charge);
        quota_discharge(&l->channel_charge);
        (void) listen_options_free(l->options);
        sd_event_unref(l->event);
        free(l->path);
        free(l);
        return NULL;
}

void listener_set_owner(Listener *l, Outbox *outbox) {
        if (l->slot)
                state_write_owner(l->slot, outbox ? l->owner_name : "");
        l->delivery->ops->set_owner(l->delivery, outbox);
        listener_serve(l);
}

void listener_end_with_owner(Listener *l) {
        l->delivery->ops->set_owner(l->delivery, NULL);
        delivery_lose_all(l->delivery, ENOTCONN);
        listener_close(l, LISTENER_END_OWNER);
}

bool listener_accepts(const Listener *l) {
        return l->delivery->ops->accepts;
}

void listener_pause(Listener *l) {
        l->paused = true;
        listener_note(l);
        (void) sd_event_source_set_enabled(l->accept_source, SD_EVENT_OFF);
}

void listener_resume(Listener *l) {
        if (!l->paused)
                return;

        l->paused = false;
        listener_note(l);
        listener_serve(l);
}

void listener_go_on(Listener *l) {
        listener_serve(l);
}

int listener_acknowledge(Listener *l, uint64_t serial) {
        return l->delivery->ops->acknowledge ? l->delivery->ops->acknowledge(l->delivery, serial) : -EOPNOTSUPP;
}

int listener_accept(Listener *l, Outbox *caller, sd_bus_message *call, uint32_t maximum, uint32_t timeout_ms) {
        if (!l->delivery->ops->accept)
                return -EOPNOTSUPP;

        return l->delivery->ops->accept(l->delivery, caller, call, maximum, timeout_ms);
}

static void listener_keep_channel(Listener *l) {
        unsigned packet_size;
        int fd, r;

        if (!l->slot)
                return;

        fd = l->delivery->ops->get_channel(l->delivery, &packet_size);
        r = store_keep_channel(l->store, l->id, fd, packet_size, &l->delivery->kept_channel);
        if (r < 0)
                log_warning("%s: its channel will end with this process, it cannot be kept: %s", l->path, strerror(-r));
}

int listener_open_channel(Listener *l) {
        int fd;

        if (!l->delivery->ops->open_channel)
                return -EOPNOTSUPP;

        fd = l->delivery->ops->open_channel(l->delivery);
        if (fd >= 0)
                listener_keep_channel(l);
        return fd;
}

int listener_take_socket(Listener *l) {
        return l->delivery->ops->take_socket ? l->delivery->ops->take_socket(l->delivery, l->fd) : -EOPNOTSUPP;
}

void listener_take_back(Listener *l) {
        l->delivery->ops->take_back(l->delivery);
}
