/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/hash.h"
#include "base/macros.h"
#include "daemon/policy/credit.h"

struct CreditUser {
        uid_t uid;
        uint32_t n_credits;
        uint32_t used; /* of the base */
        UT_hash_handle hh;
};

static uint32_t room(uint32_t limit, uint32_t used) {
        return limit > used ? limit - used : 0;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
        return a < b ? a : b;
}

static void budget_divide(Budget *budget, uint32_t limit) {
        /* Nine users have a share of the base; at least one for each. Of the default, a share is four: as
         * much as one client can keep for good, and what another one of its user needs to begin, a connection
         * and its receipt. */
        budget->limit[CREDIT_FAST] = limit * 5 / 14;
        budget->limit[CREDIT_BASE] = limit - budget->limit[CREDIT_FAST];
        budget->share = limit >= 14 ? limit / 14 : 1;
}

void budget_init(Budget *budget, uint32_t limit) {
        *budget = (Budget) {};
        budget_divide(budget, limit);
        TAILQ_INIT(&budget->starved);
}

void budget_done(Budget *budget) {
        assert(!budget->users);
}

uint32_t budget_get_used(const Budget *budget) {
        return budget->used[CREDIT_BASE] + budget->used[CREDIT_FAST];
}

bool credit_is_new(const Credit *credit) {
        return credit->window <= 1;
}

/* So much of its user's share may one client have, so that it does not keep the user's others from beginning.
 * At first it is one more with receipts: a caller that blocks in its library frees the probe only after the
 * first reply. */
#define BASE_PER_CLIENT 2

static uint32_t credit_get_base_room(const Credit *credit) {
        const Budget *budget = credit->budget;
        uint32_t base, most;

        most = credit->receipts && credit_is_new(credit) ? BASE_PER_CLIENT + 1 : BASE_PER_CLIENT;
        base = smaller(room(budget->share, credit->user->used),
                       room(budget->limit[CREDIT_BASE], budget->used[CREDIT_BASE]));

        return smaller(base, room(most, credit->charged[CREDIT_BASE]));
}

/* Half of it is only for those who have answered before. The other half is for users whose share is spent by
 * clients that do not read, so that their other clients can begin at all. */
static uint32_t credit_get_fast_room(const Credit *credit) {
        const Budget *budget = credit->budget;
        uint32_t limit = budget->limit[CREDIT_FAST];

        return room(credit_is_new(credit) ? limit / 2 : limit, budget->used[CREDIT_FAST]);
}

static uint32_t credit_get_budget_room(const Credit *credit) {
        return credit_get_base_room(credit) + credit_get_fast_room(credit);
}

/* What is left for connections when the receipt has been charged as well; or many clients, each of them over
 * the limit by one, would fill the bus. Where a share is but one, nobody could have two, and even so they are
 * too few for that. */
static uint32_t credit_get_connection_room(const Credit *credit) {
        bool keep = credit->receipts && credit->budget->share > 1;

        return room(credit_get_budget_room(credit), keep ? 1 : 0);
}

static void credit_queue_up(Credit *credit) {
        if (credit->starved)
                return;

        TAILQ_INSERT_TAIL(&credit->budget->starved, credit, starved_link);
        credit->starved = true;
}

static void credit_dequeue(Credit *credit) {
        if (!credit->starved)
                return;

        TAILQ_REMOVE(&credit->budget->starved, credit, starved_link);
        credit->starved = false;
}

static Credit *budget_find_starved(Budget *budget) {
        Credit *credit;

        TAILQ_FOREACH(credit, &budget->starved, starved_link)
                if (credit_get_connection_room(credit) > 0)
                        return credit;

        return NULL;
}

/* Each one that is woken takes what it needs at once, or needs nothing; so nobody sleeps while there is room.
 * Who finds nothing again queues up at the end. */
static void budget_wake(Budget *budget) {
        Credit *credit;

        while ((credit = budget_find_starved(budget))) {
                credit_dequeue(credit);
                credit->callback(credit->userdata);
        }
}

void budget_set_limit(Budget *budget, uint32_t limit) {
        budget_divide(budget, limit);
        budget_wake(budget);
}

static int budget_acquire_user(Budget *budget, uid_t uid, CreditUser **ret) {
        CreditUser *user;

        HASH_FIND(hh, budget->users, &uid, sizeof(uid), user);
        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return -ENOMEM;

                user->uid = uid;
                HASH_ADD(hh, budget->users, uid, sizeof(user->uid), user);
                if (!hash_was_added(&user->hh)) {
                        free(user);
                        return -ENOMEM;
                }
        }

        user->n_credits++;
        *ret = user;
        return 0;
}

int credit_init(Credit *credit,
                Budget *budget,
                uid_t uid,
                uint32_t window_max,
                CreditCallback callback,
                void *userdata) {
        *credit = (Credit) {
                .budget = budget,
                .window = 1,
                .window_max = window_max,
                .callback = callback,
                .userdata = userdata,
        };

        return budget_acquire_user(budget, uid, &credit->user);
}

void credit_done(Credit *credit) {
        Budget *budget = credit->budget;
        CreditUser *user;

        user = TAKE_PTR(credit->user);
        if (!user)
                return;

        credit_dequeue(credit);
        for (size_t pool = 0; pool < _CREDIT_POOL_MAX; pool++)
                budget->used[pool] -= credit->charged[pool];
        user->used -= credit->charged[CREDIT_BASE];

        user->n_credits--;
        if (user->n_credits == 0) {
                HASH_DEL(budget->users, user);
                free(user);
        }

        budget_wake(budget);
}

void credit_set_window_max(Credit *credit, uint32_t window_max) {
        credit->window_max = window_max;
        credit->window = smaller(credit->window, window_max);
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
        credit->window = smaller(credit->window * 2, credit->window_max);
}

uint32_t credit_get_room(Credit *credit) {
        uint32_t own, common;

        own = room(credit->window, credit->used);
        common = credit_get_connection_room(credit);

        if (own > 0 && common == 0)
                credit_queue_up(credit);

        return smaller(own, common);
}

static CreditPool credit_charge(Credit *credit) {
        CreditPool pool = CREDIT_FAST;

        if (credit_get_base_room(credit) > 0) {
                pool = CREDIT_BASE;
                credit->user->used++;
        }

        credit->charged[pool]++;
        credit->budget->used[pool]++;
        return pool;
}

static void credit_discharge(Credit *credit, CreditPool pool) {
        assert(credit->charged[pool] > 0);

        if (pool == CREDIT_BASE)
                credit->user->used--;
        credit->charged[pool]--;
        credit->budget->used[pool]--;
}

CreditPool credit_take(Credit *credit) {
        credit->used++;
        return credit_charge(credit);
}

void credit_return(Credit *credit, CreditPool pool) {
        assert(credit->used > 0);

        credit->used--;
        credit_discharge(credit, pool);
}

void credit_wake(Credit *credit) {
        /* Those who waited for the budget come first, or a client that answers fast could keep it all. */
        budget_wake(credit->budget);
        credit->callback(credit->userdata);
}

bool credit_take_extra(Credit *credit, bool in_window, CreditPool *ret_pool) {
        if (credit_get_budget_room(credit) == 0) {
                credit_queue_up(credit);
                return false;
        }

        *ret_pool = in_window ? credit_take(credit) : credit_charge(credit);
        return true;
}

void credit_return_extra(Credit *credit, bool in_window, CreditPool pool) {
        if (in_window)
                credit_return(credit, pool);
        else
                credit_discharge(credit, pool);
}
