/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/credit.h"

void budget_init(Budget *budget, uint32_t limit) {
        *budget = (Budget) { .limit = limit };
        TAILQ_INIT(&budget->starved);
}

static uint32_t budget_get_room(const Budget *budget) {
        return budget->limit > budget->used ? budget->limit - budget->used : 0;
}

static void credit_leave_queue(Credit *credit) {
        if (!credit->starved)
                return;

        TAILQ_REMOVE(&credit->budget->starved, credit, starved_link);
        credit->starved = false;
}

/* Each one that is woken takes what it needs at once, or needs nothing; so nobody sleeps while there is room.
 * Who finds the budget empty again queues up at the end. */
static void budget_wake(Budget *budget) {
        Credit *credit;

        while (budget_get_room(budget) > 0 && (credit = TAILQ_FIRST(&budget->starved))) {
                credit_leave_queue(credit);
                credit->callback(credit->userdata);
        }
}

void budget_set_limit(Budget *budget, uint32_t limit) {
        budget->limit = limit;
        budget_wake(budget);
}

void credit_init(Credit *credit, Budget *budget, uint32_t window, CreditCallback callback, void *userdata) {
        *credit = (Credit) {
                .budget = budget,
                .window = window,
                .callback = callback,
                .userdata = userdata,
        };
}

void credit_done(Credit *credit) {
        credit_leave_queue(credit);
        credit->budget->used -= credit->used;
        credit->used = 0;
        budget_wake(credit->budget);
}

void credit_set_window(Credit *credit, uint32_t window) {
        bool more = window > credit->window;

        credit->window = window;
        if (more)
                credit->callback(credit->userdata);
}

uint32_t credit_get_room(Credit *credit) {
        uint32_t own, common;

        own = credit->window > credit->used ? credit->window - credit->used : 0;
        common = budget_get_room(credit->budget);

        if (own > 0 && common == 0 && !credit->starved) {
                TAILQ_INSERT_TAIL(&credit->budget->starved, credit, starved_link);
                credit->starved = true;
        }

        return own < common ? own : common;
}

void credit_take(Credit *credit) {
        credit->used++;
        credit->budget->used++;
}

void credit_give_back(Credit *credit, uint32_t n) {
        assert(n <= credit->used);

        if (n == 0)
                return;

        credit->used -= n;
        credit->budget->used -= n;

        /* Those who waited for the budget come first, or a client that answers fast could keep it all. */
        budget_wake(credit->budget);
        credit->callback(credit->userdata);
}
