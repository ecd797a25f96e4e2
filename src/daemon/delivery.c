/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/delivery.h"

void delivery_init(Delivery *d, const DeliveryOps *ops, const DeliveryEvents *events, void *userdata) {
        *d = (Delivery) { .ops = ops, .events = events, .userdata = userdata };
        TAILQ_INIT(&d->waiting);
        TAILQ_INIT(&d->sent);
}

void delivery_add(Delivery *d, Handoff *handoff) {
        handoff->delivery = d;
        TAILQ_INSERT_TAIL(&d->waiting, handoff, delivery_link);
        d->n_waiting++;
}

static Handoff *delivery_take_waiting(Delivery *d) {
        Handoff *handoff = TAILQ_FIRST(&d->waiting);

        TAILQ_REMOVE(&d->waiting, handoff, delivery_link);
        d->n_waiting--;
        return handoff;
}

static void delivery_take_sent(Delivery *d, Handoff *handoff) {
        TAILQ_REMOVE(&d->sent, handoff, delivery_link);
        d->n_sent--;
}

void delivery_mark_sent(Delivery *d) {
        Handoff *handoff = delivery_take_waiting(d);

        TAILQ_INSERT_TAIL(&d->sent, handoff, delivery_link);
        d->n_sent++;
        d->last_sent = handoff->serial;
}

void delivery_recall(Delivery *d, Handoff *handoff) {
        Handoff *later;

        delivery_take_sent(d, handoff);

        TAILQ_FOREACH(later, &d->waiting, delivery_link)
                if (later->serial > handoff->serial)
                        break;
        if (later)
                TAILQ_INSERT_BEFORE(later, handoff, delivery_link);
        else
                TAILQ_INSERT_TAIL(&d->waiting, handoff, delivery_link);
        d->n_waiting++;
}

void delivery_confirm(Delivery *d, Handoff *handoff) {
        delivery_take_sent(d, handoff);
        handoff->delivery = NULL;
        d->events->delivered(1, d->userdata);
}

void delivery_lose(Delivery *d, int error) {
        Handoff *handoff = delivery_take_waiting(d);

        d->events->lost(handoff, error, d->userdata);
        (void) handoff_free(handoff);
}
