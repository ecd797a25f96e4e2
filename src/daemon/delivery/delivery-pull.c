/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/delivery/delivery-pull.h"
#include "daemon/delivery/delivery.h"
#include "daemon/outbox/error-reply.h"
#include "daemon/outbox/outbox.h"

/* dbus-daemon disconnects a sender of more than 16 descriptors in a message (max_message_unix_fds on the
 * system bus). */
#define CONNECTIONS_PER_REPLY_MAX 16

/* Upper bound for the size of a signal Pending, in bytes. */
#define PENDING_SIZE UINT64_C(256)

typedef struct DeliveryPull DeliveryPull;
typedef struct PullCall PullCall;

/* An unanswered call of Accept. */
struct PullCall {
        DeliveryPull *pull;
        Outbox *outbox; /* of the caller, which need not be the owner */
        Waiter end;     /* for the caller to leave the bus */
        Waiter waiter;  /* for room */
        sd_bus_message *message;
        uint32_t maximum;
        sd_event_source *timer;
        bool *answered; /* if not NULL, set when the call is freed */
        TAILQ_ENTRY(PullCall) link;
};

struct DeliveryPull {
        Delivery delivery;            /* must be first */
        Outbox *owner;                /* NULL: none */
        TAILQ_HEAD(, PullCall) calls; /* in the order of arrival */
        unsigned n_calls;
        bool pending_sent;     /* since the last call of Accept */
        Waiter pending_waiter; /* for the owner to read, before Pending can be sent */
};

static DeliveryPull *from_delivery(Delivery *d) {
        assert(delivery_is(d, DELIVERY_PULL));
        return (DeliveryPull *) d;
}

static PullCall *pull_call_free(PullCall *call) {
        if (call->answered)
                *call->answered = true;
        TAILQ_REMOVE(&call->pull->calls, call, link);
        call->pull->n_calls--;
        waiter_stop(&call->end);
        waiter_stop(&call->waiter);
        sd_event_source_disable_unref(call->timer);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

static void on_caller_left(Waiter *end) {
        PullCall *call = CONTAINER_OF(end, PullCall, end);
        DeliveryPull *p = call->pull;

        (void) pull_call_free(call);
        if (TAILQ_EMPTY(&p->calls))
                delivery_tell_room(&p->delivery); /* a waiting connection makes Pending due */
}

static PullCall *call_from_waiter(Waiter *waiter) {
        return CONTAINER_OF(waiter, PullCall, waiter);
}

static void on_room(Waiter *waiter) {
        delivery_tell_room(&call_from_waiter(waiter)->pull->delivery);
}

static void on_admitted(Waiter *waiter) {
        delivery_tell_room(&CONTAINER_OF(waiter, DeliveryPull, pending_waiter)->delivery);
}

/* Replies with the first n waiting connections. */
static int send_reply(PullCall *call, uint32_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Delivery *d = &call->pull->delivery;
        Handoff *first = n > 0 ? TAILQ_FIRST(&d->waiting) : NULL, *handoff = first;
        int r;

        r = sd_bus_message_new_method_return(call->message, &m);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(m, 'a', "(hsqa{sv})");
        if (r < 0)
                return r;

        for (uint32_t left = n; left > 0; left--, handoff = TAILQ_NEXT(handoff, delivery_link)) {
                r = sd_bus_message_open_container(m, 'r', "hsqa{sv}");
                if (r >= 0)
                        r = delivery_append_handoff(d, m, handoff);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_close_container(m);
        if (r < 0)
                return r;

        return n > 0 ? outbox_send(call->outbox, m, first, n) : sd_bus_send(NULL, m, NULL);
}

/* Returns how many connections the call can be answered with now; if none, its waiter is called later. */
static uint32_t call_request_room(PullCall *call) {
        uint32_t room = outbox_request_room(call->outbox, &call->waiter);

        return room < call->maximum ? room : call->maximum;
}

/* Finds the first call that can be answered now, and returns with how many connections. A call of a client
 * without room does not delay the calls of others. */
static uint32_t pull_request_call(DeliveryPull *p, PullCall **ret) {
        PullCall *call;
        uint32_t room;

        TAILQ_FOREACH(call, &p->calls, link) {
                room = call_request_room(call);
                if (room > 0) {
                        *ret = call;
                        return room;
                }
        }

        return 0;
}

static uint32_t pull_request_room(Delivery *d) {
        PullCall *call;
        uint32_t room = pull_request_call(from_delivery(d), &call);

        return room > d->n_waiting ? room - d->n_waiting : 0;
}

/* Replies with the first n waiting connections and ends the call. */
static int pull_answer(PullCall *call, uint32_t n) {
        Delivery *d = &call->pull->delivery;
        int r;

        r = send_reply(call, n);
        if (r < 0)
                return r;

        for (; n > 0; n--)
                delivery_mark_sent(d);
        outbox_flush(call->outbox, false);
        (void) pull_call_free(call);
        return 0;
}

static int pull_push(Delivery *d, bool more) {
        DeliveryPull *p = from_delivery(d);
        PullCall *call;
        uint32_t room;
        int r;

        if (more)
                return 0; /* one reply for all of them */

        while (d->n_waiting > 0 && (room = pull_request_call(p, &call)) > 0) {
                r = pull_answer(call, room < d->n_waiting ? room : d->n_waiting);
                if (r < 0)
                        return r;
        }

        return 0;
}

bool delivery_pull_wants_pending(Delivery *d) {
        DeliveryPull *p;

        if (!delivery_is(d, DELIVERY_PULL))
                return false;

        p = from_delivery(d);
        return p->owner && !p->pending_sent && !p->pending_waiter.queue && TAILQ_EMPTY(&p->calls);
}

bool delivery_pull_is_called(Delivery *d) {
        return !TAILQ_EMPTY(&from_delivery(d)->calls);
}

void delivery_pull_send_pending(Delivery *d) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        DeliveryPull *p = from_delivery(d);
        int r;

        assert(delivery_pull_wants_pending(d));

        /* Other callers of Accept make the signal due again and again, while the owner may not read. */
        if (!outbox_admit_signal(p->owner, PENDING_SIZE, &p->pending_waiter))
                return;

        p->pending_sent = true;

        r = sd_bus_message_new_signal(outbox_get_bus(p->owner), &m, MANAGER_PATH, MANAGER_INTERFACE,
                                      "Pending");
        if (r >= 0)
                r = sd_bus_message_set_destination(m, outbox_get_destination(p->owner));
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'o', d->parameters.path);
        if (r >= 0)
                r = sd_bus_send(outbox_get_bus(p->owner), m, NULL);
        if (r < 0)
                log_debug("Failed to send Pending for %s: %s", d->parameters.path, strerror(-r));
}

static int on_time_out(sd_event_source *s, uint64_t usec, void *userdata) {
        PullCall *call = userdata;
        DeliveryPull *p = call->pull;
        int r;

        r = send_reply(call, 0);
        if (r < 0)
                log_debug("Failed to answer a call of Accept for %s: %s", p->delivery.parameters.path,
                          strerror(-r));

        (void) pull_call_free(call);
        delivery_tell_room(&p->delivery); /* without other calls, a waiting connection makes Pending due */
        return 0;
}

int delivery_pull_accept(Delivery *d,
                         Outbox *caller,
                         sd_bus_message *message,
                         uint32_t maximum,
                         uint32_t timeout_ms) {
        bool answered = false;
        DeliveryPull *p;
        PullCall *call;
        int r;

        assert(maximum > 0);

        if (!delivery_is(d, DELIVERY_PULL))
                return -EOPNOTSUPP;

        p = from_delivery(d);
        if (p->n_calls >= DELIVERY_PULL_CALLS_MAX)
                return -EDQUOT;

        call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;

        call->pull = p;
        call->outbox = caller;
        call->end = (Waiter) { .ready = on_caller_left };
        call->waiter = (Waiter) { .ready = on_room };
        call->message = sd_bus_message_ref(message);
        call->maximum = maximum < CONNECTIONS_PER_REPLY_MAX ? maximum : CONNECTIONS_PER_REPLY_MAX;
        /* A short reply while the one before it is on the bus would make all replies short. */
        call->waiter.wanted = call->maximum;
        outbox_await_end(caller, &call->end);
        TAILQ_INSERT_TAIL(&p->calls, call, link);
        p->n_calls++;
        p->pending_sent = false;

        call->answered = &answered;
        delivery_tell_room(d);
        if (answered)
                return 0;
        call->answered = NULL;

        /* A call with a timeout of 0 is answered in the next iteration of the event loop. */
        r = sd_event_add_time_relative(d->parameters.event, &call->timer, CLOCK_MONOTONIC,
                                       UINT64_C(1000) * timeout_ms, timeout_ms > 0 ? 1000 : 1, on_time_out,
                                       call);
        if (r < 0) {
                (void) pull_call_free(call);
                delivery_tell_room(d);
        }

        return r;
}

static void pull_set_owner(Delivery *d, Outbox *outbox) {
        DeliveryPull *p = from_delivery(d);

        waiter_stop(&p->pending_waiter);
        p->owner = outbox;
        p->pending_sent = false;
}

void delivery_pull_end_calls(Delivery *d) {
        DeliveryPull *p = from_delivery(d);
        PullCall *call;

        while ((call = TAILQ_FIRST(&p->calls))) {
                (void) send_reply(call, 0);
                (void) pull_call_free(call);
        }
}

static Delivery *pull_free(Delivery *d) {
        DeliveryPull *p = from_delivery(d);
        PullCall *call;

        while ((call = TAILQ_FIRST(&p->calls))) {
                (void) error_reply(call->message, ERROR_LISTENER_CLOSED, d->parameters.path);
                (void) pull_call_free(call);
        }

        waiter_stop(&p->pending_waiter);
        delivery_done(d);
        free(p);
        return NULL;
}

static const DeliveryOps pull_ops = {
        .free = pull_free,
        .set_owner = pull_set_owner,
        .request_room = pull_request_room,
        .push = pull_push,
};

int delivery_pull_new(const DeliveryParameters *parameters, Delivery **ret) {
        DeliveryPull *p;

        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;

        delivery_init(&p->delivery, &pull_ops, parameters);
        TAILQ_INIT(&p->calls);
        p->pending_waiter = (Waiter) { .ready = on_admitted };

        *ret = &p->delivery;
        return 0;
}
