/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who may send how many connections over the bus before somebody confirms one.
 *
 * A Budget is what the bus carries for all clients together; a Credit is one client's part. Both are values
 * embedded in what they belong to. Who finds no credit turns its accept() off and is told when there is some
 * again: a client when its own comes back, and those who were stopped by the common budget in the order in
 * which they were.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

typedef struct Budget Budget;
typedef struct Credit Credit;

struct Budget {
        uint32_t limit;
        uint32_t used;
        TAILQ_HEAD(, Credit) starved; /* have credit of their own, but the budget had none */
};

/* Called when there is credit again; takes at once what it has use for. */
typedef void (*CreditCallback)(void *userdata);

struct Credit {
        Budget *budget;
        uint32_t window;
        uint32_t used;
        bool starved;
        CreditCallback callback;
        void *userdata;
        TAILQ_ENTRY(Credit) starved_link;
};

void budget_init(Budget *budget, uint32_t limit);

/* Wakes up who waited, if there is more now. */
void budget_set_limit(Budget *budget, uint32_t limit);

void credit_init(Credit *credit, Budget *budget, uint32_t window, CreditCallback callback, void *userdata);

/* Gives everything back and forgets the client. */
void credit_done(Credit *credit);

/* What is above it now comes back by itself. */
void credit_set_window(Credit *credit, uint32_t window);

/* How many may be sent now. Who is told 0 will be called when it is more. */
uint32_t credit_get_room(Credit *credit);

/* Takes one of what credit_get_room() said. */
void credit_take(Credit *credit);

void credit_give_back(Credit *credit, uint32_t n);
