/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/episode.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/delivery/delivery-call.h"
#include "daemon/delivery/delivery.h"
#include "daemon/outbox/outbox.h"
#include "daemon/policy/options.h"

/* Calls that are not answered while a client is slow are one episode. */
#define QUIET_USEC (UINT64_C(60) * 1000 * 1000)

#define TIMER_ACCURACY_USEC (UINT64_C(100) * 1000)

/* The queue 'sent' has the connections of the calls that are not answered. */
typedef struct DeliveryCall {
        Delivery delivery; /* must be first */
        Outbox *outbox;    /* of the owner; NULL: none */
        Waiter waiter;
        sd_event_source *timer; /* enabled while calls are not answered, except for those reported */
        uint64_t reported_usec; /* the calls that were due then are reported */
        Episode unanswered;
} DeliveryCall;

static DeliveryCall *from_delivery(Delivery *d) {
        assert(delivery_is(d, DELIVERY_CALL));
        return (DeliveryCall *) d;
}

static void on_room(Waiter *waiter) {
        delivery_tell_room(&CONTAINER_OF(waiter, DeliveryCall, waiter)->delivery);
}

/* -------------------------------------------------------------------------------- calls without an answer */

static uint64_t handoff_get_due(const Handoff *handoff) {
        return handoff->called_usec + UINT64_C(1000) * 1000 * DELIVERY_ANSWER_SECONDS;
}

/* The oldest call that is neither answered nor reported. */
static Handoff *call_find_unreported(DeliveryCall *c) {
        Handoff *handoff;

        TAILQ_FOREACH(handoff, &c->delivery.sent, delivery_link)
                if (handoff_get_due(handoff) > c->reported_usec)
                        return handoff;

        return NULL;
}

static int call_start_timer(DeliveryCall *c) {
        Handoff *handoff = call_find_unreported(c);
        int r;

        if (!handoff)
                return 0;

        r = sd_event_source_set_time(c->timer, handoff_get_due(handoff));
        return r < 0 ? r : sd_event_source_set_enabled(c->timer, SD_EVENT_ONESHOT);
}

/* The timer is not moved when a call is answered, as this happens often. */
static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        DeliveryCall *c = userdata;
        uint64_t now = clock_get_usec();
        Handoff *handoff = call_find_unreported(c);
        bool due = handoff && handoff_get_due(handoff) <= now;

        if (due)
                c->reported_usec = now;
        (void) call_start_timer(c);

        if (due && episode_add_failure(&c->unanswered, now, QUIET_USEC))
                c->delivery.parameters.events->unanswered(c->delivery.parameters.userdata);
        return 0;
}

static void call_watch(DeliveryCall *c) {
        int enabled = SD_EVENT_OFF, r;

        (void) sd_event_source_get_enabled(c->timer, &enabled);
        if (enabled != SD_EVENT_OFF)
                return;

        r = call_start_timer(c);
        if (r < 0)
                log_warning("Failed to set a timer for %s: %s", c->delivery.parameters.path, strerror(-r));
}

/* -------------------------------------------------------------------------------------------- the answer */

/* The names that libraries use: libdbus, sd-bus and QtDBus have one for each case, GDBus answers
 * UnknownMethod for all, and godbus has NoSuchObject. */
static bool error_is_about_handler(const sd_bus_error *error) {
        static const char *const names[] = {
                SD_BUS_ERROR_UNKNOWN_OBJECT,
                SD_BUS_ERROR_UNKNOWN_INTERFACE,
                SD_BUS_ERROR_UNKNOWN_METHOD,
                "org.freedesktop.DBus.Error.NoSuchObject",
        };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (sd_bus_error_has_name(error, names[i]))
                        return true;

        return false;
}

static bool answer_is_from_client(DeliveryCall *c, sd_bus_message *answer) {
        const char *sender = sd_bus_message_get_sender(answer);

        return sender && streq(sender, outbox_get_destination(c->outbox));
}

/* The bus has answered, or sd-bus after it has lost the bus. Returns 0 if the outbox gets the error next, as
 * for other messages that the bus refuses. */
static int call_handle_bus_error(DeliveryCall *c, Handoff *handoff, const sd_bus_error *error) {
        if (handoff->entry && !sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
                return 0;

        /* The client has left the bus, or the bus does not wait any longer. */
        outbox_take_back(c->outbox, handoff);
        delivery_recall(&c->delivery, handoff);
        delivery_tell_room(&c->delivery);
        return 1;
}

static int on_answered(Handoff *handoff, sd_bus_message *answer) {
        const sd_bus_error *error = sd_bus_message_get_error(answer);
        Delivery *d = handoff->delivery;
        DeliveryCall *c = from_delivery(d);

        if (!answer_is_from_client(c, answer))
                return call_handle_bus_error(c, handoff, error);

        if (error)
                log_debug("The owner of %s has answered with an error: %s: %s", d->parameters.path,
                          error->name, error->message);

        if (error && error_is_about_handler(error)) {
                d->parameters.events->no_handler(d->parameters.userdata);
                return 1;
        }

        if (error)
                delivery_reject(d, handoff);
        else
                delivery_confirm(d, handoff);
        return 1;
}

/* ---------------------------------------------------------------------------------------------- sending */

static int call_send(Delivery *d, Handoff *handoff) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        DeliveryCall *c = from_delivery(d);
        int r;

        r = sd_bus_message_new_method_call(outbox_get_bus(c->outbox), &m, outbox_get_destination(c->outbox),
                                           d->parameters.options->handler, CLIENT_INTERFACE, "AcceptSocket");
        if (r < 0)
                return r;

        r = sd_bus_message_append_basic(m, 'o', d->parameters.path);
        if (r < 0)
                return r;

        r = delivery_append_handoff(d, m, handoff);
        if (r < 0)
                return r;

        r = outbox_call(c->outbox, m, handoff, on_answered);
        if (r < 0)
                return r;

        handoff->called_usec = clock_get_usec();
        delivery_mark_sent(d);
        call_watch(c);
        return 0;
}

static uint32_t call_request_send_room(Delivery *d) {
        DeliveryCall *c = from_delivery(d);

        if (!c->outbox)
                return 0;

        return outbox_request_call_room(c->outbox, &c->waiter);
}

static uint32_t call_request_room(Delivery *d) {
        uint32_t room = call_request_send_room(d);

        return room > d->n_waiting ? room - d->n_waiting : 0;
}

static int call_push(Delivery *d, bool more) {
        DeliveryCall *c = from_delivery(d);
        int r;

        r = delivery_push_each(d, c->outbox, call_request_send_room, call_send, true);
        /* The connection ends with the answer of the client, and the bus is only asked for the credit. */
        if (c->outbox)
                outbox_flush_later(c->outbox);
        return r;
}

/* ---------------------------------------------------------------------------------------------- the owner */

static void call_set_owner(Delivery *d, Outbox *outbox) {
        DeliveryCall *c = from_delivery(d);
        Handoff *handoff;

        waiter_stop(&c->waiter);

        TAILQ_FOREACH(handoff, &d->sent, delivery_link)
                handoff_ignore_answer(handoff);
        delivery_recall_read(d);

        c->outbox = outbox;
        c->unanswered = (Episode) {};
}

static Delivery *call_free(Delivery *d) {
        DeliveryCall *c = from_delivery(d);

        delivery_done(d);
        waiter_stop(&c->waiter);
        sd_event_source_disable_unref(c->timer);
        if (c->outbox)
                outbox_flush(c->outbox, false);
        free(c);
        return NULL;
}

static const DeliveryOps call_ops = {
        .free = call_free,
        .set_owner = call_set_owner,
        .request_room = call_request_room,
        .push = call_push,
};

int delivery_call_new(const DeliveryParameters *parameters, Delivery **ret) {
        DeliveryCall *c;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;

        delivery_init(&c->delivery, &call_ops, parameters);
        c->waiter = (Waiter) { .ready = on_room };

        r = sd_event_add_time(parameters->event, &c->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_USEC, on_timer,
                              c);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->timer, SD_EVENT_OFF);
        if (r < 0) {
                (void) call_free(&c->delivery);
                return r;
        }

        *ret = &c->delivery;
        return 0;
}
