/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/outbox/waiter.h"

void waiter_start(Waiter *waiter, Waiters *queue) {
        assert(waiter->ready);
        assert(!waiter->queue || waiter->queue == queue);

        if (waiter->queue)
                return;

        TAILQ_INSERT_TAIL(queue, waiter, link);
        waiter->queue = queue;
}

void waiter_stop(Waiter *waiter) {
        if (!waiter->queue)
                return;

        TAILQ_REMOVE(waiter->queue, waiter, link);
        waiter->queue = NULL;
}

void waiters_serve_one(Waiters *queue) {
        Waiter *waiter = TAILQ_FIRST(queue);

        if (!waiter)
                return;

        waiter_stop(waiter);
        waiter->ready(waiter);
}

void waiters_serve_all(Waiters *queue) {
        Waiter *waiter;
        uint32_t n = 0;

        /* A waiter that starts again is queued behind these. */
        TAILQ_FOREACH(waiter, queue, link)
                n++;
        for (; n > 0; n--)
                waiters_serve_one(queue);
}

void waiters_done(Waiters *queue) {
        Waiter *waiter;

        while ((waiter = TAILQ_FIRST(queue)))
                waiter_stop(waiter);
}
