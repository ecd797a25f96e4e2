/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How accepted connections reach the client: what all the ways have in common.
 *
 * The listener asks for room before it accepts, adds what it has accepted and pushes. What happens to it
 * from there on it learns through the events. Each way is one DeliveryOps, in a file of its own.
 */

#include "daemon/outbox/handoff.h"

typedef struct DeliveryOps DeliveryOps;
typedef struct ListenOptions ListenOptions;
typedef struct Outbox Outbox;
typedef struct SpoolEntry SpoolEntry;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_event sd_event;

/* Told to the listener, and asked of it; userdata is what it gave to the delivery. */
typedef struct DeliveryEvents {
        /* There is room again, or something may be pushed again. Uses at once what it can. */
        void (*room)(void *userdata);
        /* The client has so many more. */
        void (*delivered)(uint32_t n, void *userdata);
        /* A connection is closed without having reached the client. The peer is NULL if it was in a channel
         * that an earlier process has filled. */
        void (*lost)(const Address *peer, int error, void *userdata);
        /* The program that had the channel has closed it, and there may be another one. */
        void (*channel_ended)(void *userdata);
        /* How many listeners there are of the client's user, which have to share what the user may have. */
        uint32_t (*count_siblings)(void *userdata);
        /* The client cannot or will not take any. The listener ends. */
        void (*failed)(const char *message, void *userdata);
} DeliveryEvents;

typedef struct DeliveryParameters {
        sd_event *event;
        const char *path; /* the listener's; these two last as long as the delivery */
        const ListenOptions *options;
        const DeliveryEvents *events;
        void *userdata;
} DeliveryParameters;

struct Delivery {
        const DeliveryOps *ops;
        DeliveryParameters parameters;

        HandoffQueue waiting; /* in the order of serials: those in HANDOFF_WAITING */
        HandoffQueue sent;    /* in the order of sending: all others */
        uint32_t n_waiting;
        uint32_t n_sent;
        uint32_t n_restored; /* in a channel that an earlier process has filled; sent before all others */
        uint64_t last_sent;  /* serial */

        SpoolEntry *saved_channel; /* the next process gets the channel from there */
        bool has_owner;
        bool taken;     /* somebody has the socket itself */
        bool is_owners; /* that, or the channel, went to an owner, and leaves with it */
};

/* What an operation that is NULL would do, the listener's caller is told: it is the wrong one for the
 * delivery. */
struct DeliveryOps {
        bool is_direct; /* what it hands over has left the service, whose end is of no concern to it */

        Delivery *(*free)(Delivery *d);

        /* Who owns the listener from now on, which may be who did before; NULL: nobody, it has left. What was
         * on the way to it waits again when its outbox is freed. Nothing is sent or watched before the first
         * of these calls. */
        void (*set_owner)(Delivery *d, Outbox *outbox);

        /* Returns how many more connections may be accepted now. If that is 0, the event room follows. */
        uint32_t (*request_room)(Delivery *d);

        /* Hands over what waits, as far as there is room. 'more': others may follow at once, so that what is
         * done once for several can wait for the next push. Returns a negative errno if something did not
         * work this time; it still waits then, and the next push tries again. */
        int (*push)(Delivery *d, bool more);

        /* Whether it wants to know that a connection waits though there is no room; and it does. May be NULL.
         */
        bool (*wants_notice)(Delivery *d);
        void (*notice)(Delivery *d);

        /* Acknowledge: the client has everything up to this serial. Returns -EOPNOTSUPP where it need not say
         * so, -ERANGE if nothing with that serial was handed over. */
        int (*acknowledge)(Delivery *d, uint64_t serial);

        /* Accept: the call is answered when there is something, or after timeout_ms. -EDQUOT: too many wait.
         */
        int (*accept)(Delivery *d,
                      Outbox *caller,
                      sd_bus_message *call,
                      uint32_t maximum,
                      uint32_t timeout_ms);

        /* OpenChannel. Returns a descriptor that the caller closes; -EALREADY. */
        int (*open_channel)(Delivery *d);

        /* TakeSocket. The same. */
        int (*take_socket)(Delivery *d, int listening_fd);

        /* What one of these two has returned did not reach the client: it may be called again. */
        void (*take_back)(Delivery *d);

        /* For another process, and from one of before: the service's end of the channel, or -EBADF, and what
         * is needed to count what is in it. The latter consumes the descriptor on success. */
        int (*get_channel)(Delivery *d, unsigned *ret_packet_size);
        int (*restore_channel)(Delivery *d, int fd, unsigned packet_size);

        /* The process ends, and another one goes on: calls that wait are answered. May be NULL. */
        void (*freeze)(Delivery *d);

        /* The listener ends: the socket must be of no use to anybody. Returns a negative errno if whoever has
         * it has seen to it that it stays of use. May be NULL. */
        int (*revoke)(Delivery *d, int listening_fd);
};

/* For delivery_*_new(). */
void delivery_init(Delivery *d, const DeliveryOps *ops, const DeliveryParameters *parameters);

/* Closes and orphans all that has not been confirmed. */
void delivery_done(Delivery *d);

/* Consumes the handoff. */
void delivery_add(Delivery *d, Handoff *handoff);

/* The first that waits has been handed over. */
void delivery_mark_sent(Delivery *d);

/* What was handed over waits again, in its old order. */
void delivery_recall(Delivery *d, Handoff *handoff);

/* It is the client's; only the bus may still have to let go of it. */
void delivery_confirm(Delivery *d, Handoff *handoff);

/* It cannot be handed over, ever; frees the handoff. */
void delivery_lose(Delivery *d, Handoff *handoff, int error);

/* What was not handed over will not be. */
void delivery_lose_waiting(Delivery *d, int error);

void delivery_lose_sent(Delivery *d, int error);

/* Returns how many connections have been accepted but not confirmed. */
static inline uint32_t delivery_get_in_flight(const Delivery *d) {
        return d->n_waiting + d->n_sent + d->n_restored;
}

static inline void delivery_tell_room(Delivery *d) {
        d->parameters.events->room(d->parameters.userdata);
}
