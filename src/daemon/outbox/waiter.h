/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Somebody who waits for something at a client's outbox: for room, to be admitted, or for the client's end.
 * In the order in which they came. */

#include <sys/queue.h>

typedef TAILQ_HEAD(Waiters, Waiter) Waiters;

/* Embedded. */
typedef struct Waiter {
        Waiters *queue; /* NULL: does not wait */
        /* What it waits for is there; takes at once what it has use for. */
        void (*ready)(struct Waiter *waiter);
        /* This client will never take a descriptor. */
        void (*refused)(struct Waiter *waiter);
        TAILQ_ENTRY(Waiter) link;
} Waiter;

/* Either may be called again. */
void waiter_start(Waiter *waiter, Waiters *queue);
void waiter_stop(Waiter *waiter);

/* The first is told, and waits no longer, unless it starts again. */
void waiters_serve_one(Waiters *queue);

/* So are all, each once. */
void waiters_serve_all(Waiters *queue);

/* All of them wait in vain. */
void waiters_refuse(Waiters *queue);

/* Nobody is told anything. */
void waiters_done(Waiters *queue);
