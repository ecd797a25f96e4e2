/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/descriptors.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "base/names.h"
#include "base/socket.h"
#include "daemon/delivery/delivery-call.h"
#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery-pull.h"
#include "daemon/delivery/delivery-signal.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener-accept.h"
#include "daemon/listener/listener-control.h"
#include "daemon/listener/listener-save.h"
#include "daemon/policy/options.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"

static void on_lifeline_ended(void *userdata) {
        listener_close(userdata, LISTENER_END_LIFELINE);
}

static void on_room(void *userdata) {
        listener_serve(userdata);
}

static void on_delivered(void *userdata) {
        Listener *l = userdata;

        l->delivered++;
        listener_save_state(l);
}

static void on_lost(const Address *peer, int error, void *userdata) {
        listener_count_lost(userdata, peer, error);
}

static void on_rejected(void *userdata) {
        Listener *l = userdata;

        l->refused++;
        l->rejected++;
        listener_save_state(l);
}

static void on_no_handler(void *userdata) {
        Listener *l = userdata;

        listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL, 0, ERROR_NO_HANDLER, l->options->handler,
                       CLIENT_INTERFACE, "AcceptSocket");
        listener_close(l, LISTENER_END_ERROR);
}

static void on_unanswered(void *userdata) {
        listener_error(userdata, NULL, NULL, 0, ERROR_CALL_NOT_ANSWERED, "AcceptSocket",
                       DELIVERY_ANSWER_SECONDS);
}

static void on_channel_ended(void *userdata) {
        Listener *l = userdata;

        user_discharge(&l->channel_charge);
        if (l->options->persistent)
                listener_save_state(l);
        else
                listener_close(l, LISTENER_END_OWNER);
}

static uint32_t on_count_siblings(void *userdata) {
        Listener *l = userdata;

        return l->charge.user ? (uint32_t) l->charge.user->used[USER_LISTENERS] : 0;
}

static const DeliveryEvents delivery_events = {
        .room = on_room,
        .delivered = on_delivered,
        .lost = on_lost,
        .rejected = on_rejected,
        .no_handler = on_no_handler,
        .unanswered = on_unanswered,
        .channel_ended = on_channel_ended,
        .count_siblings = on_count_siblings,
};

static void on_interface_renamed(InterfaceUse *use) {
        Listener *l = CONTAINER_OF(use, Listener, interface);

        log_debug("The network interface of %s is called %s now", l->path, use->name);
        listener_save_interface(l);
}

static void on_interface_gone(InterfaceUse *use) {
        Listener *l = CONTAINER_OF(use, Listener, interface);

        /* The next process notices it as well. */
        if (!l->frozen)
                listener_lose_interface(l);
}

static const InterfaceEvents interface_events = {
        .renamed = on_interface_renamed,
        .gone = on_interface_gone,
};

/* Watches the interface that the socket is bound to. Returns -ENODEV if it does not have the name. */
static int listener_watch_interface(Listener *l, InterfaceWatch *watch, const char *name) {
        unsigned index;
        int r;

        r = socket_get_interface(l->fd, &index);
        if (r < 0)
                return r;
        if (index == 0)
                return -ENODEV;

        return interface_watch_add(watch, index, name, &interface_events, &l->interface);
}

/* Returns -ENODEV if the interface is gone: the caller may have waited for a password since it was looked up.
 */
static int listener_open_interface(Listener *l, InterfaceWatch *watch, const ListenOptions *o) {
        LogFields fields = { .has_owner_uid = true, .owner_uid = l->uid, .interface = o->interface };
        int r;

        r = listener_watch_interface(l, watch, o->interface);
        if (r >= 0 || r == -ENODEV || errno_is_transient(r))
                return r;

        log_event(LOG_WARNING, NULL, &fields,
                  "Failed to watch network interface %s, RestrictAddressFamilies= of the unit may lack "
                  "AF_NETLINK: %s",
                  o->interface, strerror(-r));
        return -EPROTONOSUPPORT; /* what it was says nothing about the address */
}

static int listener_open(Listener *l, const ListenOptions *o) {
        LogFields fields = { .has_owner_uid = true, .owner_uid = l->uid };
        int r;

        l->fd = socket_listen(&(SocketSettings) {
                        .address = o->address,
                        .fall_back_to_ipv4 = !o->address_given,
                        .ipv6_only = o->ipv6_only,
                        .free_bind = o->free_bind,
                        .interface = o->interface_index,
                        .backlog = o->backlog,
                        .no_delay = o->no_delay,
                        .keep_alive = o->keep_alive,
                        .defer_accept = o->defer_accept,
                        .fast_open = o->fast_open,
        });
        if (l->fd < 0)
                return l->fd;
        if (descriptor_is_in_reserve(l->fd))
                return -EMFILE;

        r = socket_set_owner(l->fd, l->uid);
        if (r < 0) {
                /* The caller cannot do anything about it. */
                log_event(LOG_WARNING, NULL, &fields,
                          "Failed to make user %u the owner of a socket, the unit may lack CAP_CHOWN: %s",
                          (unsigned) l->uid, strerror(-r));
                return r;
        }

        return 0;
}

DEFINE_CLEANUP(Listener, listener_free)

static int listener_make(sd_event *event,
                         uint64_t id,
                         uid_t uid,
                         uint32_t pid,
                         const ListenOptions *options,
                         const ListenerEvents *events,
                         void *userdata,
                         Listener **ret) {
        _cleanup_(listener_freep) Listener *l = NULL;

        assert(id > 0);
        assert(events);

        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;

        l->id = id;
        l->uid = uid;
        l->pid = pid;
        l->fd = -EBADF;
        l->events = events;
        l->userdata = userdata;
        l->event = sd_event_ref(event);
        l->paused = options->paused;
        lifeline_init(&l->lifeline, l->event, on_lifeline_ended, l);
        pacer_init(&l->pacer, options->accept_rate);

        if (asprintf(&l->path, LISTENER_PREFIX "/%llu", (unsigned long long) id) < 0)
                return -ENOMEM;

        *ret = TAKE_PTR(l);
        return 0;
}

static int listener_create_delivery(Listener *l, const ListenOptions *o) {
        static int (*const create[_DELIVERY_KIND_MAX])(const DeliveryParameters *parameters,
                                                       Delivery **ret) = {
                [DELIVERY_SIGNAL] = delivery_signal_new, [DELIVERY_CALL] = delivery_call_new,
                [DELIVERY_PULL] = delivery_pull_new,     [DELIVERY_CHANNEL] = delivery_channel_new,
                [DELIVERY_SOCKET] = delivery_socket_new,
        };

        return create[o->delivery](
                        &(DeliveryParameters) {
                                        .event = l->event,
                                        .path = l->path,
                                        .options = o,
                                        .events = &delivery_events,
                                        .userdata = l,
                        },
                        &l->delivery);
}

/* The part of listener_new() and listener_restore() that follows when the socket listens. */
static int listener_set_up(Listener *l, const ListenOptions *o) {
        int r;

        r = socket_get_local_address(l->fd, &l->address);
        if (r < 0)
                return r;

        r = socket_get_backlog(l->fd, &l->backlog);
        if (r < 0)
                return r;

        r = listener_add_accept_source(l);
        if (r < 0)
                return r;

        return listener_create_delivery(l, o);
}

int listener_new(sd_event *event,
                 uint64_t id,
                 uid_t uid,
                 uint32_t pid,
                 ListenOptions *options,
                 Store *store,
                 InterfaceWatch *interfaces,
                 const ListenerEvents *events,
                 void *userdata,
                 Listener **ret) {
        _cleanup_(listener_freep) Listener *l = NULL;
        int r;

        r = listener_make(event, id, uid, pid, options, events, userdata, &l);
        if (r < 0)
                return r;

        r = listener_open(l, options);
        if (r < 0)
                return r;

        r = options->interface ? listener_open_interface(l, interfaces, options) : 0;
        if (r < 0)
                return r;

        r = listener_set_up(l, options);
        if (r < 0)
                return r;

        l->state = LISTENER_UNANNOUNCED;
        if (store) {
                l->store = store;
                r = store_save_listener(store, id, uid, pid, l->fd, options, &l->slot, &l->saved);
                if (r < 0) {
                        LogFields fields = listener_log_fields(l);

                        log_event(LOG_WARNING, NULL, &fields,
                                  "Failed to save %s of user %u, it will not survive a restart: %s", l->path,
                                  (unsigned) uid, strerror(-r));
                }
                listener_save_state(l);
                listener_save_interface(l);
        }

        l->options = options;
        *ret = TAKE_PTR(l);
        return 0;
}

int listener_restore(sd_event *event,
                     StoreFound *found,
                     Store *store,
                     InterfaceWatch *interfaces,
                     const ListenerEvents *events,
                     void *userdata,
                     Listener **ret) {
        _cleanup_(listener_freep) Listener *l = NULL;
        int r;

        r = listener_make(event, found->id, found->uid, found->pid, found->options, events, userdata, &l);
        if (r < 0)
                return r;

        l->fd = TAKE_FD(found->fd);
        l->paused = found->state.flags & STATE_PAUSED;
        l->state = found->state.flags & STATE_UNANNOUNCED ? LISTENER_UNANNOUNCED : LISTENER_OPEN;
        if (found->state.end > 0) {
                l->state = LISTENER_CLOSING;
                l->end = found->state.end <= _LISTENER_END_MAX ? (ListenerEnd) (found->state.end - 1)
                                                               : LISTENER_END_ERROR;
        }
        l->lifeline.is_sent = found->state.flags & STATE_LIFELINE_SENT;
        if (found->state.flags & STATE_ENDS_AT_LOGOUT)
                l->logout = found->state.flags & STATE_LOGOUT_UNKNOWN ? LISTENER_LOGOUT_TO_ASK
                                                                      : LISTENER_LOGOUT_ENDS;
        l->accepted = found->state.accepted;
        l->delivered = found->state.delivered;
        l->refused = found->state.refused;
        l->rejected = found->state.rejected;
        l->lost = found->state.lost;

        r = found->options->interface ? listener_watch_interface(l, interfaces, found->state.interface) : 0;
        if (r == -ENODEV)
                l->interface_gone = true;
        else if (r < 0)
                return r;

        r = listener_set_up(l, found->options);
        if (r < 0)
                return r;

        if (found->state.flags & STATE_TAKEN)
                l->delivery->holder = found->state.flags & STATE_OWNERS ? DELIVERY_HOLDER_OWNER
                                                                        : DELIVERY_HOLDER_OTHER;
        l->store = store;
        l->slot = TAKE_PTR(found->slot);
        l->saved = TAKE_PTR(found->entry);
        l->options = TAKE_PTR(found->options);
        *ret = TAKE_PTR(l);
        return 0;
}

void listener_freeze(Listener *l) {
        l->frozen = true;
        (void) sd_event_source_set_enabled(l->accept_source, SD_EVENT_OFF);
        if (delivery_is(l->delivery, DELIVERY_PULL))
                delivery_pull_end_calls(l->delivery);
}

/* Closes a restored listener that has lost its network interface, or has no guard. Returns false if it stays.
 */
static bool listener_close_deprived(Listener *l) {
        if (l->interface_gone) {
                listener_lose_interface(l);
                return true;
        }
        if (!l->not_contained)
                return false;

        listener_error(l, MESSAGE_NOT_CONTAINED_STR, NULL, 0, ERROR_NOT_CONTAINED);
        listener_close(l, LISTENER_END_ERROR);
        return true;
}

void listener_set_owner(Listener *l, Outbox *outbox) {
        int r;

        if (listener_close_deprived(l))
                return;

        l->state = LISTENER_OPEN;
        listener_save_owner(l, outbox ? l->owner_name : NULL);
        l->delivery->ops->set_owner(l->delivery, outbox);
        l->delivery->has_owner = outbox;
        listener_save_state(l);
        if (outbox)
                listener_prepare_to_save(l);

        r = lifeline_watch(&l->lifeline);
        if (r < 0) {
                listener_error(l, MESSAGE_LISTENER_FAILED_STR, NULL, r, ERROR_LIFELINE_WATCH_FAILED);
                listener_close(l, LISTENER_END_ERROR);
                return;
        }

        listener_serve(l);
}

void listener_end_with_owner(Listener *l) {
        l->delivery->ops->set_owner(l->delivery, NULL);
        delivery_lose_waiting(l->delivery, EOWNERDEAD);
        delivery_lose_sent(l->delivery, EOWNERDEAD);
        listener_close_now(l, LISTENER_END_OWNER);
}

void listener_pause(Listener *l) {
        l->paused = true;
        listener_save_state(l);
        (void) sd_event_source_set_enabled(l->accept_source, SD_EVENT_OFF);
}

void listener_resume(Listener *l) {
        if (!l->paused)
                return;

        l->paused = false;
        listener_save_state(l);
}

int listener_open_channel(Listener *l) {
        int fd;

        fd = delivery_channel_open(l->delivery);
        if (fd >= 0)
                listener_save_channel(l);
        return fd;
}

int listener_open_lifeline(Listener *l) {
        return lifeline_open(&l->lifeline, l->store, l->slot);
}

void listener_set_lifeline_sent(Listener *l) {
        l->lifeline.is_sent = true;
        listener_save_state(l);
}
