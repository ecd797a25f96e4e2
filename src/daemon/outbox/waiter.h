/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Callbacks that wait at a client's outbox: for room, for the client to read signals, or for the client to
 * leave the bus. They are called in FIFO order. */

#include <stdint.h>
#include <sys/queue.h>

typedef TAILQ_HEAD(Waiters, Waiter) Waiters;

/* Embedded. */
typedef struct Waiter {
        Waiters *queue; /* NULL: not waiting */
        /* The wait is over. The waiter uses the room before it returns. */
        void (*ready)(struct Waiter *waiter);
        uint32_t wanted; /* descriptors; for room only */
        TAILQ_ENTRY(Waiter) link;
} Waiter;

/* Both may be called again. */
void waiter_start(Waiter *waiter, Waiters *queue);
void waiter_stop(Waiter *waiter);

/* Removes the first waiter and calls ready(), which may start it again. */
void waiters_serve_one(Waiters *queue);

/* The same for all waiters, each once. */
void waiters_serve_all(Waiters *queue);

/* Removes all waiters without a call. */
void waiters_done(Waiters *queue);
