/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who may have how many descriptors on the bus.
 *
 * What the bus carries for the service is little, and whoever does not read keeps its part of it for good. So
 * the Budget is in two: a base, of which each user gets a small share that nobody can take away, and the
 * rest, mainly for clients that answer, so that these are fast as long as nobody abuses it. A client's own
 * window begins at one and doubles with every answer.
 *
 * Who finds no credit turns its accept() off and is told when there is some again, in the order in which they
 * were stopped.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

typedef struct Budget Budget;
typedef struct Credit Credit;
typedef struct CreditUser CreditUser;

/* What a descriptor is charged to. */
typedef enum CreditPool {
        CREDIT_BASE,
        CREDIT_FAST,
        _CREDIT_POOL_MAX,
} CreditPool;

struct Budget {
        uint32_t limit[_CREDIT_POOL_MAX];
        uint32_t used[_CREDIT_POOL_MAX];
        uint32_t share; /* of the base, for each user */
        CreditUser *users;
        TAILQ_HEAD(, Credit) starved; /* have a window of their own, but the budget had nothing for them */
};

/* Called when there is credit again; takes at once what it has use for. */
typedef void (*CreditCallback)(void *userdata);

struct Credit {
        Budget *budget;
        CreditUser *user;
        uint32_t window;
        uint32_t window_max;
        uint32_t used;                      /* of the window */
        uint32_t charged[_CREDIT_POOL_MAX]; /* of the budget */
        bool starved;
        bool receipts; /* a message may carry one besides its connections */
        CreditCallback callback;
        void *userdata;
        TAILQ_ENTRY(Credit) starved_link;
};

void budget_init(Budget *budget, uint32_t limit);

/* Nobody has a credit of it any more. */
void budget_done(Budget *budget);

/* Wakes up who waited, if there is more now. */
void budget_set_limit(Budget *budget, uint32_t limit);

uint32_t budget_get_used(const Budget *budget);

/* Returns 0 or -ENOMEM. */
int credit_init(Credit *credit,
                Budget *budget,
                uid_t uid,
                uint32_t window_max,
                CreditCallback callback,
                void *userdata);

/* Gives everything back and forgets the client. */
void credit_done(Credit *credit);

/* What is above it now comes back by itself. */
void credit_set_window_max(Credit *credit, uint32_t window_max);

/* It has not answered yet. */
bool credit_is_new(const Credit *credit);

uint32_t credit_get_window(const Credit *credit);

/* From now on each message may carry a receipt besides its connections, and room is kept for it. */
void credit_expect_receipts(Credit *credit);

/* Nothing of the window is left. */
bool credit_is_full(const Credit *credit);

/* The client has answered: it may have more. */
void credit_grow(Credit *credit);

/* How many may be sent now. Who is told 0 will be called when it is more. */
uint32_t credit_get_room(Credit *credit);

/* Takes one of what credit_get_room() said. Returns the pool that it was taken from. */
CreditPool credit_take(Credit *credit);

/* The bus no longer holds it. Nobody is woken up before credit_wake(), so that many can come back at once. */
void credit_return(Credit *credit, CreditPool pool);
void credit_wake(Credit *credit);

/* A descriptor that is on the bus for another reason than a connection. In the window, it may go one beyond
 * it. Returns false, and calls back later, if the budget has nothing for it. */
bool credit_take_extra(Credit *credit, bool in_window, CreditPool *ret_pool);
void credit_return_extra(Credit *credit, bool in_window, CreditPool pool);
