/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One accepted connection, from accept() until its client has confirmed it.
 *
 * The service keeps its own descriptor during that time, so that a connection survives the loss of a message.
 * A handoff belongs to the delivery of its listener, and a copy is in the store for the next process
 * (daemon/store/store.h).
 *
 * While its message is on the bus, the outbox of the client has an OutboxEntry for it. The entry can outlive
 * the handoff, because the bus still holds the descriptor of a listener that was closed in the meantime.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/address.h"
#include "daemon/policy/credit.h"

typedef struct Delivery Delivery;
typedef struct Handoff Handoff;
typedef struct Outbox Outbox;
typedef struct OutboxCall OutboxCall;
typedef struct OutboxEntry OutboxEntry;
typedef struct SpoolEntry SpoolEntry;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_bus_slot sd_bus_slot;

/* The outbox reports to the delivery of the handoff. */
typedef struct HandoffEvents {
        /* The message did not leave the bus. The handoff has no entry any more and has to be sent again. */
        void (*recalled)(Delivery *delivery, Handoff *handoff);
        /* The message has left the bus for the client. The handoff has no entry any more; the call may free
         * it. */
        void (*passed)(Delivery *delivery, Handoff *handoff);
        /* After recalled(): the connection cannot be sent to this client. Frees the handoff. */
        void (*lost)(Delivery *delivery, Handoff *handoff, int error);
        /* There may be room again. The call may close the listener. */
        void (*room)(Delivery *delivery);
} HandoffEvents;

typedef enum HandoffState {
        HANDOFF_WAITING, /* for room */
        HANDOFF_ON_BUS,  /* its message is on the bus */
        HANDOFF_SENT,    /* has left the bus, or is in a channel; the client has not confirmed it */
} HandoffState;

struct Handoff {
        HandoffState state;
        Delivery *delivery;
        const HandoffEvents *events; /* of the delivery */
        int fd;                      /* -EBADF: in a channel */
        SpoolEntry *saved;           /* NULL: not in the store */
        uint64_t serial;             /* of the listener, 1 and up */
        Address peer;
        Address local;
        bool out_of_order;  /* the bus refused its message once, so that higher serials were sent before it */
        OutboxEntry *entry; /* NULL: not on the bus */
        OutboxCall *call;   /* of the delivery "call", if it is not answered; or NULL */
        uint64_t called_usec;
        TAILQ_ENTRY(Handoff) delivery_link;
};

typedef TAILQ_HEAD(HandoffQueue, Handoff) HandoffQueue;

/* A descriptor in a message on the bus. */
struct OutboxEntry {
        Handoff *handoff;  /* NULL: another descriptor, a connection of a closed listener, or one that has
                              passed */
        UserSlot slot;     /* that it is charged to */
        uint64_t cookie;   /* of the message */
        uint64_t position; /* in the order of the outbox */
        TAILQ_ENTRY(OutboxEntry) link;
};

/* Called with the reply of the client or an error of the bus. Returns the result of an sd-bus handler. */
typedef int (*OutboxAnswered)(Handoff *handoff, sd_bus_message *answer);

/* A call with a connection that the client has not answered. It is charged as long as the bus waits for the
 * answer, even if the listener was closed in the meantime. */
struct OutboxCall {
        Outbox *outbox;
        Handoff *handoff; /* NULL: the answer is ignored */
        OutboxAnswered answered;
        sd_bus_slot *slot;
        UserSlot charged;
        TAILQ_ENTRY(OutboxCall) link;
};

/* Consumes fd, also on failure. */
int handoff_new(int fd, const Address *peer, const Address *local, uint64_t serial, Handoff **ret);

/* Closes the descriptor and drops the copy in the store. */
void handoff_close(Handoff *handoff);

/* Ignores the answer to its call, if there is one. */
void handoff_ignore_answer(Handoff *handoff);

/* Closes it and detaches it from its entry. It must be in no queue of a delivery. */
Handoff *handoff_free(Handoff *handoff);
