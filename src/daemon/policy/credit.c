/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/policy/credit.h"

static uint32_t subtract(uint64_t limit, uint64_t used) {
        return limit > used ? (uint32_t) (limit - used) : 0;
}

static uint32_t min(uint32_t a, uint32_t b) {
        return a < b ? a : b;
}

void budget_init(Budget *budget, Users *users, UserSlot reserved, UserSlot common, uint32_t limit) {
        *budget = (Budget) { .users = users, .reserved = reserved, .common = common, .limit = limit };
        TAILQ_INIT(&budget->queue);
}

void budget_done(Budget *budget) {
        assert(TAILQ_EMPTY(&budget->queue));
        assert(budget->users->used[budget->reserved] == 0);
        assert(budget->users->used[budget->common] == 0);
}

uint32_t budget_count_reserved(uint32_t limit) {
        return limit - (uint32_t) ((uint64_t) limit * 3 / 7);
}

static uint32_t budget_get_reserved(const Budget *budget) {
        return budget_count_reserved(budget->limit);
}

static uint32_t credit_get_reserved_room(const Credit *credit) {
        const Budget *budget = credit->budget;

        if (credit->reserved.user->used[budget->reserved] > 0)
                return 0;

        return min(subtract(budget_get_reserved(budget), budget->users->used[budget->reserved]), 1);
}

/* Two thirds of what other clients leave, rounded up. */
static uint32_t credit_get_common_room(const Credit *credit) {
        const Budget *budget = credit->budget;
        uint64_t others = budget->users->used[budget->common] - credit->common.amount;
        uint32_t left = subtract(budget->limit - budget_get_reserved(budget), others);

        return subtract((uint32_t) (((uint64_t) left * 2 + 2) / 3), credit->common.amount);
}

static uint32_t credit_get_room(const Credit *credit) {
        uint32_t own = subtract(credit->max, credit->reserved.amount + credit->common.amount);

        if (credit->budget->is_unlimited)
                return own;

        return min(own, credit_get_reserved_room(credit) + credit_get_common_room(credit));
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
                if (credit_get_room(credit) > 0)
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
        budget->limit = limit;
        budget_wake(budget);
}

void budget_set_unlimited(Budget *budget, bool is_unlimited) {
        budget->is_unlimited = is_unlimited;
        budget_wake(budget);
}

int credit_init(Credit *credit,
                Budget *budget,
                uid_t uid,
                uint32_t max,
                CreditCallback callback,
                void *userdata) {
        int r;

        *credit = (Credit) { .budget = budget, .max = max, .callback = callback, .userdata = userdata };

        r = user_charge(budget->users, uid, budget->reserved, 0, UINT64_MAX, &credit->reserved);
        if (r < 0)
                return r;

        r = user_charge(budget->users, uid, budget->common, 0, UINT64_MAX, &credit->common);
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

void credit_set_max(Credit *credit, uint32_t max) {
        credit->max = max;
}

uint32_t credit_request_room(Credit *credit) {
        uint32_t room = credit_get_room(credit);

        /* Descriptors of its own that are given back resume the client in any case. */
        if (room == 0 && credit->reserved.amount + credit->common.amount < credit->max)
                credit_enqueue(credit);

        return room;
}

UserSlot credit_take(Credit *credit) {
        UserCharge *charge = credit_get_reserved_room(credit) > 0 ? &credit->reserved : &credit->common;

        user_charge_set(charge, charge->amount + 1);
        return charge->slot;
}

void credit_return(Credit *credit, UserSlot slot) {
        UserCharge *charge = slot == credit->budget->reserved ? &credit->reserved : &credit->common;

        assert(charge->slot == slot);
        assert(charge->amount > 0);
        user_charge_set(charge, charge->amount - 1);
}

void credit_wake(Credit *credit) {
        /* Clients in the queue come first, or a client that reads fast could keep the whole budget. */
        budget_wake(credit->budget);
        credit->callback(credit->userdata);
}
