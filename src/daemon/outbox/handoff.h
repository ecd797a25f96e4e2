/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One accepted connection, until it is its client's.
 *
 * The service keeps its descriptor all that time, so that nothing is lost when a message is. A handoff
 * belongs to its listener's delivery, and is kept for the next process (daemon/store/store.h); while its
 * message is on the bus it also stands in the outbox of the client. When the listener goes first, the outbox
 * alone keeps it, without the descriptor, until the message's fate is known, because only then the bus has
 * room again.
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
typedef struct SpoolEntry SpoolEntry;

/* What becomes of a handoff on the bus, told to the delivery that it belongs to. */
typedef struct HandoffEvents {
        /* Its message has not been read: it waits again, in its old place. */
        void (*recalled)(Delivery *delivery, Handoff *handoff);
        /* Its message has been read, which confirms it. May free it. */
        void (*confirmed)(Delivery *delivery, Handoff *handoff);
        /* After it was recalled: it will never reach the client. Frees it. */
        void (*lost)(Delivery *delivery, Handoff *handoff, int error);
        /* There may be room again. The listener may end in the call. */
        void (*room)(Delivery *delivery);
} HandoffEvents;

struct Handoff {
        Delivery *delivery;          /* NULL: the listener is gone */
        const HandoffEvents *events; /* the delivery's */
        int fd;
        SpoolEntry *saved; /* NULL: the process takes it along when it dies */
        uint64_t serial;   /* of the listener, 1 and up */
        Address peer;
        Address local;
        TAILQ_ENTRY(Handoff) delivery_link;

        Outbox *outbox;    /* NULL: not on the bus */
        bool by_barrier;   /* that its message was read confirms it */
        bool receipt;      /* its message carries one */
        bool returned;     /* to the pool already: what became of its message is known */
        bool refused;      /* by the bus, at least once */
        CreditPool pool;   /* that it is charged to */
        uint64_t cookie;   /* of its message */
        uint64_t position; /* in the outbox' order */
        TAILQ_ENTRY(Handoff) outbox_link;
};

typedef TAILQ_HEAD(HandoffQueue, Handoff) HandoffQueue;

/* Consumes fd, also on failure. */
int handoff_new(int fd, const Address *peer, const Address *local, uint64_t serial, Handoff **ret);

/* Closes the descriptor, here and where it was kept. */
void handoff_let_go(Handoff *handoff);

/* Lets it go; the handoff stands in no queue any more. */
Handoff *handoff_free(Handoff *handoff);
