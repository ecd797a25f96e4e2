/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Accepted connections on their way to the client: the part that all ways to deliver share.
 *
 * The listener requests room, accepts that many connections, adds each, and pushes. The delivery reports the
 * outcome through DeliveryEvents. Each way to deliver is a DeliveryOps in a file of its own, delivery-NAME.c.
 * Functions that only one of them has are in its header; they return -EOPNOTSUPP for a delivery of another
 * kind, and the caller of the D-Bus method gets the error WrongDelivery.
 */

#include "daemon/outbox/handoff.h"
#include "daemon/policy/options.h"

typedef struct DeliveryOps DeliveryOps;
typedef struct ListenOptions ListenOptions;
typedef struct Outbox Outbox;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_event sd_event;

#define DELIVERY_ANSWER_SECONDS 5U

/* Called on the listener, with the userdata of DeliveryParameters. */
typedef struct DeliveryEvents {
        /* There is room again, or push() may succeed now. The listener accepts and pushes in the call, and
         * may be closed in it. */
        void (*room)(void *userdata);
        /* The client has confirmed a connection. */
        void (*delivered)(void *userdata);
        /* A connection is closed without having reached the client. The peer is NULL if it was in a channel
         * that an earlier process has filled. */
        void (*lost)(const Address *peer, int error, void *userdata);
        /* The client has closed its channel. The call closes the listener unless it is persistent. */
        void (*channel_ended)(void *userdata);
        /* The client has refused a connection, which is closed. */
        void (*rejected)(void *userdata);
        /* The client does not export the object, interface or method that the delivery calls, so the listener
         * ends with an error. */
        void (*no_handler)(void *userdata);
        /* The client has not answered a call for DELIVERY_ANSWER_SECONDS. Once for many calls. */
        void (*unanswered)(void *userdata);
        /* Returns how many listeners the client's user has, which share the user's window. */
        uint32_t (*count_siblings)(void *userdata);
} DeliveryEvents;

typedef struct DeliveryParameters {
        sd_event *event;
        const char *path;             /* of the listener, which outlives the delivery */
        const ListenOptions *options; /* the same */
        const DeliveryEvents *events;
        void *userdata;
} DeliveryParameters;

/* The client that has the channel or a copy of the listening socket. */
typedef enum DeliveryHolder {
        DELIVERY_HOLDER_NONE,
        DELIVERY_HOLDER_OWNER, /* the owner at that time; the next owner may take it again */
        DELIVERY_HOLDER_OTHER, /* another client of the user, while the listener had no owner */
} DeliveryHolder;

struct Delivery {
        const DeliveryOps *ops;
        DeliveryParameters parameters;

        HandoffQueue waiting; /* in the order of serials: those in HANDOFF_WAITING */
        HandoffQueue sent;    /* in the order of sending: all others */
        uint32_t n_waiting;
        uint32_t n_sent;
        uint32_t n_restored; /* in a channel that an earlier process has filled; sent before all others */
        uint64_t last_sent;  /* serial */

        bool has_owner;
        DeliveryHolder holder;
};

struct DeliveryOps {
        bool is_direct; /* connections leave the service at once, and reach the client even if the service
                           ends */

        Delivery *(*free)(Delivery *d);

        /* Sets the outbox of the new owner, which may be the same as before; NULL: the owner has left.
         * Connections in unread messages wait again when the outbox is freed. Nothing is sent or watched
         * before the first call. */
        void (*set_owner)(Delivery *d, Outbox *outbox);

        /* Returns how many more connections may be accepted now. If that is 0, the event room follows. */
        uint32_t (*request_room)(Delivery *d);

        /* Sends waiting connections as far as there is room. 'more': another push follows at once, and may do
         * the work for several connections together. Returns a negative errno after a transient
         * failure; the next push tries again. */
        int (*push)(Delivery *d, bool more);

        /* The channel or the listening socket did not reach the client and may be taken again. NULL for a
         * delivery that has neither. */
        void (*take_back)(Delivery *d);
};

/* Records that the owner, or without one another client, takes the channel or the listening socket. */
void delivery_set_holder(Delivery *d);

/* For delivery_*_new(). */
void delivery_init(Delivery *d, const DeliveryOps *ops, const DeliveryParameters *parameters);

/* Closes all connections. */
void delivery_done(Delivery *d);

bool delivery_is(const Delivery *d, DeliveryKind kind);

/* Consumes the handoff. Serials have to ascend. */
void delivery_add(Delivery *d, Handoff *handoff);

/* push() for a delivery with a message for each connection. 'send' returns a negative errno, or calls
 * delivery_mark_sent(). The outbox may be NULL. */
int delivery_push_each(Delivery *d,
                       Outbox *outbox,
                       uint32_t (*request_room)(Delivery *d),
                       int (*send)(Delivery *d, Handoff *handoff),
                       bool more);

/* The first waiting connection has been sent. */
void delivery_mark_sent(Delivery *d);

/* A sent connection has to be sent again: it waits in the order of serials. */
void delivery_recall(Delivery *d, Handoff *handoff);

/* The same for all connections that the client has read and not confirmed. outbox_free() recalls the others.
 */
void delivery_recall_read(Delivery *d);

/* The client has the connection. Frees the handoff. */
void delivery_confirm(Delivery *d, Handoff *handoff);

/* The client does not want the connection. Its peer is disconnected, even if the client keeps its copy. Frees
 * the handoff. */
void delivery_reject(Delivery *d, Handoff *handoff);

/* Closes a connection that the client will not get. Frees the handoff. */
void delivery_lose(Delivery *d, Handoff *handoff, int error);
void delivery_lose_waiting(Delivery *d, int error);
void delivery_lose_sent(Delivery *d, int error);

/* Appends a connection to a message, as "hsqa{sv}". */
int delivery_append_handoff(const Delivery *d, sd_bus_message *m, const Handoff *handoff);

/* Returns how many connections have been accepted but not confirmed. */
static inline uint32_t delivery_get_in_flight(const Delivery *d) {
        return d->n_waiting + d->n_sent + d->n_restored;
}

static inline void delivery_tell_room(Delivery *d) {
        d->parameters.events->room(d->parameters.userdata);
}
