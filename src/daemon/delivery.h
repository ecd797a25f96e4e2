/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How accepted connections reach the client: what all the ways have in common.
 *
 * The listener asks for room before it accepts, adds what it has accepted and pushes. What happens to it
 * from there on it learns through the events.
 */

#include "daemon/handoff.h"

typedef struct Outbox Outbox;

/* Told to the listener; userdata is what it gave to the delivery. */
typedef struct DeliveryEvents {
        /* There is room again, or something may be pushed again. Uses at once what it can. */
        void (*room)(void *userdata);
        /* The client has so many more. */
        void (*delivered)(uint32_t n, void *userdata);
        /* This one will never reach the client; it is closed after the call. */
        void (*lost)(const Handoff *handoff, int error, void *userdata);
} DeliveryEvents;

typedef struct DeliveryOps {
        const char *name;

        /* How many more connections may be accepted now. After a 0, the room event follows. */
        uint32_t (*get_room)(Delivery *d);

        /* Hands over what waits, as far as there is room. Returns a negative errno if something did not work
         * this time; it still waits then, and the next push tries again. */
        int (*push)(Delivery *d);

        /* The client has everything up to this serial. Returns -EOPNOTSUPP where it need not say so, -ERANGE
         * if nothing with that serial was handed over. */
        int (*acknowledge)(Delivery *d, uint64_t serial);

        /* Who gets the connections from now on; NULL: nobody, and what was on the way waits again. */
        void (*set_outbox)(Delivery *d, Outbox *outbox);

        Delivery *(*free)(Delivery *d);
} DeliveryOps;

struct Delivery {
        const DeliveryOps *ops;
        const DeliveryEvents *events;
        void *userdata;

        HandoffQueue waiting; /* accepted, not handed over; both in the order of serials */
        HandoffQueue sent;    /* handed over, not confirmed */
        uint32_t n_waiting;
        uint32_t n_sent;
        uint64_t last_sent;   /* serial */

        bool hungry;          /* wants to know when its outbox has room */
        TAILQ_ENTRY(Delivery) hungry_link;
};

void delivery_init(Delivery *d, const DeliveryOps *ops, const DeliveryEvents *events, void *userdata);

/* Consumes the handoff. */
void delivery_add(Delivery *d, Handoff *handoff);

/* The first that waits has been handed over. */
void delivery_mark_sent(Delivery *d);

/* What was handed over waits again, in its old order. */
void delivery_recall(Delivery *d, Handoff *handoff);

/* It is the client's; the handoff no longer stands in the delivery. */
void delivery_confirm(Delivery *d, Handoff *handoff);

/* The first that waits cannot be handed over, ever. */
void delivery_lose(Delivery *d, int error);

/* Connections accepted and not the client's yet. */
static inline uint32_t delivery_get_in_flight(const Delivery *d) {
        return d->n_waiting + d->n_sent;
}
