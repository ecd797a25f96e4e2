/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/policy/credit.h"

/* One client may use this much of its user's share, and the rest lets the user's other clients begin. A new
 * client with receipts may use one more: if it blocks in its library, its probe is released only after its
 * first reply. */
#define RESERVED_PER_CLIENT 2

static uint32_t subtract(uint64_t limit, uint64_t used) {
        return limit > used ? (uint32_t) (limit - used) : 0;
}

static uint32_t min(uint32_t a, uint32_t b) {
        return a < b ? a : b;
}

static void budget_divide(Budget *budget, uint32_t limit) {
        /* The reserved part is enough for nine users, and each has at least one. With the default limit a
         * share is four: two that one client can keep by not reading, and two for another client of its user
         * to begin with, a connection and its receipt. */
        budget->common = limit * 5 / 14;
        budget->reserved = limit - budget->common;
        budget->share = limit >= 14 ? limit / 14 : 1;
}

void budget_init(Budget *budget, Users *users, uint32_t limit) {
        *budget = (Budget) { .users = users };
        budget_divide(budget, limit);
        TAILQ_INIT(&budget->queue);
}

void budget_done(Budget *budget) {
        assert(TAILQ_EMPTY(&budget->queue));
        assert(budget_get_used(budget) == 0);
}

uint32_t budget_get_used(const Budget *budget) {
        return (uint32_t) (budget->users->used[USER_RESERVED_DESCRIPTORS] +
                           budget->users->used[USER_COMMON_DESCRIPTORS]);
}

bool credit_is_new(const Credit *credit) {
        return credit->window <= 1;
}

static uint32_t credit_get_reserved_room(const Credit *credit) {
        const Budget *budget = credit->budget;
        const User *user = credit->reserved.user;
        uint32_t per_client = RESERVED_PER_CLIENT + (credit->receipts && credit_is_new(credit) ? 1 : 0);
        uint32_t per_user = subtract(budget->share, user->used[USER_RESERVED_DESCRIPTORS]);
        uint32_t all = subtract(budget->reserved, budget->users->used[USER_RESERVED_DESCRIPTORS]);

        return min(min(per_user, all), subtract(per_client, credit->reserved.amount));
}

/* Half of it is only for clients that have read before. The other half is for new clients of users with
 * a used-up share. */
static uint32_t credit_get_common_room(const Credit *credit) {
        const Budget *budget = credit->budget;
        uint32_t limit = credit_is_new(credit) ? budget->common / 2 : budget->common;

        return subtract(limit, budget->users->used[USER_COMMON_DESCRIPTORS]);
}

static uint32_t credit_get_budget_room(const Credit *credit) {
        return credit_get_reserved_room(credit) + credit_get_common_room(credit);
}

/* With receipts, one is kept for the receipt that follows the connections. Otherwise many clients could each
 * exceed the limit by one, and fill the bus. A share of one has no room for both; but such a budget is too
 * small to fill the bus. */
static uint32_t credit_get_connection_room(const Credit *credit) {
        bool keep = credit->receipts && credit->budget->share > 1;

        return subtract(credit_get_budget_room(credit), keep ? 1 : 0);
}

static void credit_enqueue(Credit *credit) {
        if (credit->is_queued)
                return;

        TAILQ_INSERT_TAIL(&credit->budget->queue, credit, link);
        credit->is_queued = true;
}

static void credit_dequeue(Credit *credit) {
        if (!credit->is_queued)
                return;

        TAILQ_REMOVE(&credit->budget->queue, credit, link);
        credit->is_queued = false;
}

static Credit *budget_find_queued(Budget *budget) {
        Credit *credit;

        TAILQ_FOREACH(credit, &budget->queue, link)
                if (credit_get_connection_room(credit) > 0)
                        return credit;

        return NULL;
}

/* A resumed client takes all that it needs before its callback returns. So this ends, and no client waits
 * while there is room. A client that needs more than it got is at the end of the queue again. */
static void budget_wake(Budget *budget) {
        Credit *credit;

        while ((credit = budget_find_queued(budget))) {
                credit_dequeue(credit);
                credit->callback(credit->userdata);
        }
}

void budget_set_limit(Budget *budget, uint32_t limit) {
        budget_divide(budget, limit);
        budget_wake(budget);
}

int credit_init(Credit *credit,
                Budget *budget,
                uid_t uid,
                uint32_t window_max,
                CreditCallback callback,
                void *userdata) {
        int r;

        *credit = (Credit) {
                .budget = budget,
                .window = 1,
                .window_max = window_max,
                .callback = callback,
                .userdata = userdata,
        };

        r = user_charge(budget->users, uid, USER_RESERVED_DESCRIPTORS, 0, UINT64_MAX, &credit->reserved);
        if (r < 0)
                return r;

        r = user_charge(budget->users, uid, USER_COMMON_DESCRIPTORS, 0, UINT64_MAX, &credit->common);
        if (r < 0)
                user_discharge(&credit->reserved);
        return r;
}

void credit_done(Credit *credit) {
        if (!credit->reserved.user)
                return;

        credit_dequeue(credit);
        user_discharge(&credit->reserved);
        user_discharge(&credit->common);
        budget_wake(credit->budget);
}

void credit_set_window_max(Credit *credit, uint32_t window_max) {
        credit->window_max = window_max;
        credit->window = min(credit->window, window_max);
}

uint32_t credit_get_window(const Credit *credit) {
        return credit->window;
}

void credit_expect_receipts(Credit *credit) {
        credit->receipts = true;
}

bool credit_is_full(const Credit *credit) {
        return credit->used >= credit->window;
}

void credit_grow(Credit *credit) {
        credit->window = min(credit->window * 2, credit->window_max);
}

uint32_t credit_request_room(Credit *credit) {
        uint32_t own = subtract(credit->window, credit->used);
        uint32_t common = credit_get_connection_room(credit);

        if (own > 0 && common == 0)
                credit_enqueue(credit);

        return min(own, common);
}

static UserSlot credit_charge(Credit *credit) {
        UserCharge *charge = credit_get_reserved_room(credit) > 0 ? &credit->reserved : &credit->common;

        user_charge_set(charge, charge->amount + 1);
        return charge->slot;
}

static void credit_discharge(Credit *credit, UserSlot slot) {
        UserCharge *charge = slot == USER_RESERVED_DESCRIPTORS ? &credit->reserved : &credit->common;

        assert(charge->slot == slot);
        assert(charge->amount > 0);
        user_charge_set(charge, charge->amount - 1);
}

UserSlot credit_take(Credit *credit) {
        credit->used++;
        return credit_charge(credit);
}

void credit_return(Credit *credit, UserSlot slot) {
        assert(credit->used > 0);

        credit->used--;
        credit_discharge(credit, slot);
}

void credit_wake(Credit *credit) {
        /* Clients in the queue come first, or a client that reads fast could keep the whole budget. */
        budget_wake(credit->budget);
        credit->callback(credit->userdata);
}

bool credit_take_extra(Credit *credit, bool in_window, UserSlot *ret_slot) {
        if (credit_get_budget_room(credit) == 0) {
                credit_enqueue(credit);
                return false;
        }

        *ret_slot = in_window ? credit_take(credit) : credit_charge(credit);
        return true;
}

void credit_return_extra(Credit *credit, bool in_window, UserSlot slot) {
        if (in_window)
                credit_return(credit, slot);
        else
                credit_discharge(credit, slot);
}
