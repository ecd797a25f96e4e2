/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-bus.h>

#include "base/descriptors.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/delivery/delivery-signal.h"
#include "daemon/delivery/delivery.h"
#include "daemon/outbox/outbox.h"
#include "daemon/policy/options.h"

/* Unacknowledged connections with the option acknowledge: for each listener, and about as many for all
 * listeners of a user. They are in the store of the service, no longer on the bus. */
#define ACKNOWLEDGE_WINDOW 16
#define ACKNOWLEDGE_WINDOW_USER 1024

typedef struct DeliverySignal {
        Delivery delivery; /* must be first */
        Outbox *outbox;    /* of the owner; NULL: none */
        Waiter waiter;
} DeliverySignal;

static DeliverySignal *from_delivery(Delivery *d) {
        assert(delivery_is(d, DELIVERY_SIGNAL));
        return (DeliverySignal *) d;
}

static DeliverySignal *from_waiter(Waiter *waiter) {
        return CONTAINER_OF(waiter, DeliverySignal, waiter);
}

static int signal_send(Delivery *d, Handoff *handoff) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        DeliverySignal *s = from_delivery(d);
        int r;

        r = sd_bus_message_new_signal(outbox_get_bus(s->outbox), &m, MANAGER_PATH, MANAGER_INTERFACE,
                                      "AcceptSocket");
        if (r < 0)
                return r;

        r = sd_bus_message_set_destination(m, outbox_get_destination(s->outbox));
        if (r < 0)
                return r;

        r = sd_bus_message_append_basic(m, 'o', s->delivery.parameters.path);
        if (r < 0)
                return r;

        r = delivery_append_handoff(&s->delivery, m, handoff);
        if (r < 0)
                return r;

        r = outbox_send(s->outbox, m, handoff, 1);
        if (r < 0)
                return r;

        delivery_mark_sent(d);
        return 0;
}

/* At least one for each listener, so that listeners of one user do not block each other. */
static uint32_t signal_get_acknowledge_window(DeliverySignal *s) {
        uint32_t n = s->delivery.parameters.events->count_siblings(s->delivery.parameters.userdata);

        if (n <= ACKNOWLEDGE_WINDOW_USER / ACKNOWLEDGE_WINDOW)
                return ACKNOWLEDGE_WINDOW;

        return n < ACKNOWLEDGE_WINDOW_USER ? ACKNOWLEDGE_WINDOW_USER / n : 1;
}

static uint32_t signal_request_send_room(Delivery *d) {
        DeliverySignal *s = from_delivery(d);
        uint32_t room, max;

        if (!s->outbox)
                return 0;

        room = outbox_request_room(s->outbox, &s->waiter);
        if (!s->delivery.parameters.options->acknowledge)
                return room;

        max = signal_get_acknowledge_window(s);
        if (s->delivery.n_sent >= max)
                return 0;

        return room < max - s->delivery.n_sent ? room : max - s->delivery.n_sent;
}

static uint32_t signal_request_room(Delivery *d) {
        uint32_t room = signal_request_send_room(d);

        return room > d->n_waiting ? room - d->n_waiting : 0;
}

static int signal_push(Delivery *d, bool more) {
        DeliverySignal *s = from_delivery(d);

        return delivery_push_each(d, s->outbox, signal_request_send_room, signal_send, more);
}

/* A serial also acknowledges all lower ones. A connection that was sent after higher serials is only included
 * when its message has left the bus. */
static bool is_acknowledged(const Handoff *handoff, uint64_t serial) {
        return handoff->serial <= serial &&
               (!handoff->out_of_order || handoff->state != HANDOFF_ON_BUS || handoff->serial == serial);
}

int delivery_signal_acknowledge(Delivery *d, uint64_t serial) {
        Handoff *handoff, *next;

        if (!delivery_is(d, DELIVERY_SIGNAL) || !d->parameters.options->acknowledge)
                return -EOPNOTSUPP;
        if (serial == 0 || serial > d->last_sent)
                return -ERANGE;

        /* The bus may still hold the messages, as serials can be guessed: their entries stay in the outbox.
         */
        for (handoff = TAILQ_FIRST(&d->sent); handoff; handoff = next) {
                next = TAILQ_NEXT(handoff, delivery_link);
                if (is_acknowledged(handoff, serial))
                        delivery_confirm(d, handoff);
        }

        /* An earlier process, or the same one to an earlier owner, has sent these. */
        while ((handoff = TAILQ_FIRST(&d->waiting)) && handoff->serial <= serial && !handoff->out_of_order)
                delivery_confirm(d, handoff);

        delivery_tell_room(d);
        return 0;
}

static void signal_set_owner(Delivery *d, Outbox *outbox) {
        DeliverySignal *s = from_delivery(d);

        waiter_stop(&s->waiter);
        s->outbox = outbox;

        /* The last owner did not acknowledge these. outbox_free() recalls those on the bus. */
        if (!outbox)
                delivery_recall_read(d);
}

static void on_room(Waiter *waiter) {
        delivery_tell_room(&from_waiter(waiter)->delivery);
}

static Delivery *signal_free(Delivery *d) {
        DeliverySignal *s = from_delivery(d);

        delivery_done(d);
        waiter_stop(&s->waiter);
        if (s->outbox)
                outbox_flush(s->outbox, false);
        free(s);
        return NULL;
}

static const DeliveryOps signal_ops = {
        .free = signal_free,
        .set_owner = signal_set_owner,
        .request_room = signal_request_room,
        .push = signal_push,
};

int delivery_signal_new(const DeliveryParameters *parameters, Delivery **ret) {
        DeliverySignal *s;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;

        delivery_init(&s->delivery, &signal_ops, parameters);
        s->waiter = (Waiter) { .ready = on_room };

        *ret = &s->delivery;
        return 0;
}
