/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/macros.h"
#include "daemon/delivery-outbox.h"
#include "daemon/delivery-signal.h"
#include "daemon/delivery.h"
#include "daemon/names.h"

typedef struct DeliverySignal {
        Delivery delivery; /* first, so that one pointer is the other */
        const char *path;
        const char *binary_type;
        bool acknowledge;
        Outbox *outbox;
} DeliverySignal;

static DeliverySignal *from_delivery(Delivery *d) {
        return (DeliverySignal *) d;
}

static int append_details(sd_bus_message *m, const Handoff *handoff, const char *binary_type) {
        char address[ADDRESS_STRING_MAX];

        return sd_bus_message_append(m, "a{sv}", 4,
                                     "serial", "t", handoff->serial,
                                     "localAddress", "s", address_format(&handoff->local, address),
                                     "localPort", "q", address_get_port(&handoff->local),
                                     "binaryType", "s", binary_type);
}

static int send_accept_socket(DeliverySignal *s, const Handoff *handoff) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        sd_bus *bus = outbox_get_bus(s->outbox);
        char address[ADDRESS_STRING_MAX];
        int r;

        r = sd_bus_message_new_signal(bus, &m, MANAGER_PATH, MANAGER_INTERFACE, "AcceptSocket");
        if (r < 0)
                return r;

        r = sd_bus_message_set_destination(m, outbox_get_destination(s->outbox));
        if (r < 0)
                return r;

        r = sd_bus_message_append(m, "ohsq", s->path, handoff->fd,
                                  address_format(&handoff->peer, address), address_get_port(&handoff->peer));
        if (r < 0)
                return r;

        r = append_details(m, handoff, s->binary_type);
        if (r < 0)
                return r;

        return sd_bus_send(bus, m, NULL);
}

static uint32_t signal_get_room(Delivery *d) {
        DeliverySignal *s = from_delivery(d);
        uint32_t room;

        if (!s->outbox)
                return 0;

        room = outbox_get_room(s->outbox, d);
        return room > d->n_waiting ? room - d->n_waiting : 0;
}

static int signal_push(Delivery *d) {
        DeliverySignal *s = from_delivery(d);
        Handoff *handoff;
        int r = 0;

        if (!s->outbox)
                return 0;

        while ((handoff = TAILQ_FIRST(&d->waiting)) && outbox_get_room(s->outbox, d) > 0) {
                r = send_accept_socket(s, handoff);
                if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM)
                        break; /* the message needed a copy of the descriptor, or memory; later */
                if (r < 0) {
                        delivery_lose(d, r);
                        r = 0;
                        continue;
                }

                delivery_mark_sent(d);
                outbox_add(s->outbox, handoff, !s->acknowledge);
        }

        outbox_flush(s->outbox);
        return r;
}

static int signal_acknowledge(Delivery *d, uint64_t serial) {
        DeliverySignal *s = from_delivery(d);
        Handoff *handoff;
        uint32_t n = 0;

        if (!s->acknowledge)
                return -EOPNOTSUPP;

        if (serial == 0 || serial > d->last_sent)
                return -ERANGE;

        if (!s->outbox)
                return 0; /* it was handed over to one who has left, and waits again */

        while ((handoff = TAILQ_FIRST(&d->sent)) && handoff->serial <= serial) {
                outbox_confirm(s->outbox, handoff);
                n++;
        }

        outbox_give_back(s->outbox, n);
        return 0;
}

static void signal_set_outbox(Delivery *d, Outbox *outbox) {
        DeliverySignal *s = from_delivery(d);
        Handoff *handoff;

        if (s->outbox) {
                while ((handoff = TAILQ_LAST(&d->sent, HandoffQueue))) {
                        delivery_recall(d, handoff);
                        outbox_recall(s->outbox, handoff);
                }
                outbox_forget(s->outbox, d);
        }

        s->outbox = outbox;
}

static Delivery *signal_free(Delivery *d) {
        DeliverySignal *s = from_delivery(d);
        Handoff *handoff;

        while ((handoff = TAILQ_FIRST(&d->sent))) {
                TAILQ_REMOVE(&d->sent, handoff, delivery_link);
                outbox_orphan(s->outbox, handoff);
        }
        while ((handoff = TAILQ_FIRST(&d->waiting))) {
                TAILQ_REMOVE(&d->waiting, handoff, delivery_link);
                (void) handoff_free(handoff);
        }

        if (s->outbox) {
                outbox_forget(s->outbox, d);
                outbox_flush(s->outbox);
        }

        free(s);
        return NULL;
}

static const DeliveryOps signal_ops = {
        .name = "signal",
        .get_room = signal_get_room,
        .push = signal_push,
        .acknowledge = signal_acknowledge,
        .set_outbox = signal_set_outbox,
        .free = signal_free,
};

int delivery_signal_new(const char *path,
                        const char *binary_type,
                        bool acknowledge,
                        const DeliveryEvents *events,
                        void *userdata,
                        Delivery **ret) {
        DeliverySignal *s;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;

        delivery_init(&s->delivery, &signal_ops, events, userdata);
        s->path = path;
        s->binary_type = binary_type;
        s->acknowledge = acknowledge;

        *ret = &s->delivery;
        return 0;
}
