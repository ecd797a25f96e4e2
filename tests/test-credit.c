/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The accounting by user, the budget of descriptors, and the order in which clients are resumed. */

#include <errno.h>
#include <glib.h>

#include "daemon/policy/credit.h"
#include "daemon/policy/user.h"

typedef struct Taker {
        Credit credit;
        UserSlot slots[64]; /* of the descriptors it has, oldest first */
        unsigned n;
        unsigned wants; /* takes that much as soon as it is woken up */
        unsigned woken;
} Taker;

static void taker_take(Taker *t) {
        while (t->wants > 0 && credit_request_room(&t->credit) > 0) {
                t->slots[t->n++] = credit_take(&t->credit);
                t->wants--;
        }
}

static void on_available(void *userdata) {
        Taker *t = userdata;

        t->woken++;
        taker_take(t);
}

static void taker_init(Taker *t, Budget *budget, uid_t uid, uint32_t window, unsigned wants) {
        *t = (Taker) { .wants = wants };
        g_assert_cmpint(credit_init(&t->credit, budget, uid, 16, on_available, t), ==, 0);
        while (t->credit.window < window)
                credit_grow(&t->credit);
        taker_take(t);
}

/* The client answers for the n oldest. */
static void taker_answer(Taker *t, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                credit_return(&t->credit, t->slots[i]);
        memmove(t->slots, t->slots + n, (t->n - n) * sizeof(t->slots[0]));
        t->n -= n;
        credit_wake(&t->credit);
}

static void test_window(void) {
        Users users = {};
        Budget budget;
        Taker t;

        budget_init(&budget, &users, 56);
        taker_init(&t, &budget, 1000, 1, 100);
        g_assert_cmpint(t.n, ==, 1);
        g_assert_true(credit_is_full(&t.credit));

        for (unsigned window = 2; window <= 16; window *= 2) {
                credit_grow(&t.credit);
                taker_answer(&t, t.n);
                g_assert_cmpint(t.n, ==, window);
        }

        /* That is the most. */
        credit_grow(&t.credit);
        taker_answer(&t, t.n);
        g_assert_cmpint(t.n, ==, 16);
        g_assert_cmpint(budget_get_used(&budget), ==, 16);

        credit_set_window_max(&t.credit, 2);
        taker_answer(&t, t.n);
        g_assert_cmpint(t.n, ==, 2);

        credit_done(&t.credit);
        g_assert_cmpint(budget_get_used(&budget), ==, 0);
        budget_done(&budget);
        users_done(&users);
}

/* Whatever others do, and however many they are, each user has a share. */
static void test_shares(void) {
        Taker greedy[10], poor;
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, 56);
        for (unsigned i = 0; i < G_N_ELEMENTS(greedy) - 1; i++)
                taker_init(&greedy[i], &budget, 1000 + i, 16, 100);
        /* Those who have answered before, all that is not set aside and their shares. */
        g_assert_cmpint(users.used[USER_COMMON_DESCRIPTORS], ==, 20);
        g_assert_cmpint(users.used[USER_RESERVED_DESCRIPTORS], ==, 9 * 2);

        taker_init(&poor, &budget, 2000, 1, 1);
        g_assert_cmpint(poor.n, ==, 1);

        /* No client has all of its user's share, but more clients do not have more. */
        taker_init(&greedy[9], &budget, 1000, 4, 4);
        g_assert_cmpint(greedy[9].n, ==, 2);

        for (unsigned i = 0; i < G_N_ELEMENTS(greedy); i++)
                credit_done(&greedy[i].credit);
        credit_done(&poor.credit);
        g_assert_cmpint(budget_get_used(&budget), ==, 0);
        budget_done(&budget);
        users_done(&users);
}

/* Clients that never answered may use half of what is not set aside, so that others of their user can begin.
 */
static void test_fast_lane(void) {
        Taker newcomers[20], proven;
        Users users = {};
        Budget budget;
        unsigned n = 0;

        budget_init(&budget, &users, 56);
        for (unsigned i = 0; i < G_N_ELEMENTS(newcomers); i++) {
                taker_init(&newcomers[i], &budget, 1000, 1, 1);
                n += newcomers[i].n;
        }
        g_assert_cmpint(n, ==, 4 + 10);

        taker_init(&proven, &budget, 1000, 16, 16);
        g_assert_cmpint(proven.n, ==, 10);
        g_assert_cmpint(users.used[USER_RESERVED_DESCRIPTORS], ==, 4);

        for (unsigned i = 0; i < G_N_ELEMENTS(newcomers); i++)
                credit_done(&newcomers[i].credit);
        credit_done(&proven.credit);
        budget_done(&budget);
        users_done(&users);
}

static void test_wake_up_in_turn(void) {
        Taker a, b, c;
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, 3); /* a base of two, one for each user, and one beyond */
        taker_init(&a, &budget, 1, 2, 3);
        g_assert_cmpint(a.n, ==, 2);
        taker_init(&b, &budget, 1, 2, 3);
        taker_init(&c, &budget, 1, 2, 3);
        g_assert_cmpint(b.n + c.n, ==, 0);

        /* The one who gives back does not get it again: others wait for it, in turn. */
        taker_answer(&a, 1);
        g_assert_cmpint(b.n, ==, 1);
        taker_answer(&a, 1);
        g_assert_cmpint(c.n, ==, 1);
        g_assert_cmpint(a.n, ==, 0);

        /* Who leaves frees all that it had. */
        credit_done(&b.credit);
        g_assert_cmpint(a.n + c.n, ==, 2);

        credit_done(&a.credit);
        credit_done(&c.credit);
        g_assert_true(TAILQ_EMPTY(&budget.queue));
        budget_done(&budget);
        users_done(&users);
}

static void test_nobody_sleeps(void) {
        Taker a, b, c;
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, 1);
        taker_init(&a, &budget, 1, 1, 1);
        taker_init(&b, &budget, 1, 1, 1);
        taker_init(&c, &budget, 1, 1, 1);

        /* The first in the queue has no use for it any more; it must not keep the others asleep. */
        b.wants = 0;
        taker_answer(&a, 1);
        g_assert_cmpint(b.woken, ==, 1);
        g_assert_cmpint(c.n, ==, 1);

        credit_done(&a.credit);
        credit_done(&b.credit);
        credit_done(&c.credit);
        budget_done(&budget);
        users_done(&users);
}

static void test_extra(void) {
        Users users = {};
        Budget budget;
        UserSlot slot;
        Taker a, b;

        budget_init(&budget, &users, 1);
        taker_init(&a, &budget, 1, 1, 0);
        taker_init(&b, &budget, 1, 1, 0);

        g_assert_true(credit_take_extra(&a.credit, false, &slot));
        g_assert_cmpint(budget_get_used(&budget), ==, 1);
        g_assert_false(credit_take_extra(&b.credit, false, &slot));
        credit_return_extra(&a.credit, false, slot);
        credit_wake(&a.credit);
        g_assert_cmpint(b.woken, ==, 1);
        g_assert_cmpint(budget_get_used(&budget), ==, 0);

        credit_done(&a.credit);
        credit_done(&b.credit);
        budget_done(&budget);
        users_done(&users);
}

/* A reply with all that there is room for, and a receipt; nobody ever reads it. Returns how many connections
 * it has. */
static unsigned taker_reply(Taker *t) {
        unsigned n = credit_request_room(&t->credit);
        UserSlot slot;

        if (n == 0)
                return 0;
        g_assert_true(credit_take_extra(&t->credit, true, &slot));
        for (unsigned i = 0; i < n; i++)
                (void) credit_take(&t->credit);
        return n;
}

/* Receipts are on the bus, too, and it can take no more than the limit, however many users there are. */
static void test_receipts(gconstpointer data) {
        unsigned limit = GPOINTER_TO_UINT(data);
        Taker takers[100], blocking;
        Users users = {};
        Budget budget;
        UserSlot slot;

        budget_init(&budget, &users, limit);
        for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++) {
                /* As many users as their shares are enough for, and one waits in the end. */
                taker_init(&takers[i], &budget, 1000 + i % 8, 16, 0);
                credit_expect_receipts(&takers[i].credit);
                (void) taker_reply(&takers[i]);
        }
        g_assert_cmpint(budget_get_used(&budget), <=, limit);
        g_assert_cmpint(users.used[USER_COMMON_DESCRIPTORS], >=, budget.common - 1);

        /* Has been sent a probe, and cannot free it before it has its reply. */
        taker_init(&blocking, &budget, 2000, 1, 0);
        credit_expect_receipts(&blocking.credit);
        g_assert_true(credit_take_extra(&blocking.credit, false, &slot));
        g_assert_cmpint(taker_reply(&blocking), ==, 1);
        g_assert_cmpint(budget_get_used(&budget), <=, limit);

        credit_done(&blocking.credit);
        for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++)
                credit_done(&takers[i].credit);
        g_assert_cmpint(budget_get_used(&budget), ==, 0);
        budget_done(&budget);
        users_done(&users);
}

/* So little that a connection and its receipt do not both fit, and they go all the same. */
static void test_receipts_beyond_the_limit(void) {
        Users users = {};
        Budget budget;
        Taker t;

        budget_init(&budget, &users, 1);
        taker_init(&t, &budget, 1000, 16, 0);
        credit_expect_receipts(&t.credit);
        g_assert_cmpint(taker_reply(&t), ==, 1);
        g_assert_cmpint(taker_reply(&t), ==, 0);

        credit_done(&t.credit);
        budget_done(&budget);
        users_done(&users);
}

static void test_users(void) {
        UserCharge charges[3] = {}, other = {}, slot = {};
        Users users = {};

        g_assert_cmpint(user_charge(&users, 1000, USER_LISTENERS, 1, 2, charges + 0), ==, 0);
        g_assert_cmpint(user_charge(&users, 1000, USER_LISTENERS, 1, 2, charges + 1), ==, 0);
        g_assert_cmpint(user_charge(&users, 1000, USER_LISTENERS, 1, 2, charges + 2), ==, -EDQUOT);
        g_assert_null(charges[2].user);

        g_assert_cmpint(user_charge(&users, 1001, USER_LISTENERS, 1, 2, &other), ==, 0);
        g_assert_cmpint(user_charge(&users, 1000, USER_CALLS, 1, 1, &slot), ==, 0);
        g_assert_true(slot.user == charges[0].user);
        g_assert_cmpuint(slot.user->used[USER_LISTENERS], ==, 2);
        g_assert_cmpuint(users.used[USER_LISTENERS], ==, 3);

        user_discharge(charges + 0);
        user_discharge(charges + 0); /* twice is once */
        g_assert_cmpint(user_charge(&users, 1000, USER_LISTENERS, 1, 2, charges + 2), ==, 0);
        g_assert_cmpint(user_charge(&users, 1000, USER_LISTENERS, 1, 2, charges + 0), ==, -EDQUOT);

        user_discharge(charges + 1);
        user_discharge(charges + 2);
        user_discharge(&other);
        g_assert_cmpuint(users.used[USER_LISTENERS], ==, 0);
        user_discharge(&slot);
        g_assert_cmpint(user_charge(&users, 1000, USER_LISTENERS, 1, 0, charges + 0), ==, -EDQUOT);
        users_done(&users);
}

static void test_amounts(void) {
        UserCharge a = {}, b = {};
        Users users = {};

        g_assert_cmpint(user_charge(&users, 1000, USER_UNREAD_BYTES, 0, UINT64_MAX, &a), ==, 0);
        g_assert_cmpint(user_charge(&users, 1000, USER_UNREAD_BYTES, UINT32_MAX, UINT64_MAX, &b), ==, 0);
        user_charge_set(&a, 10);
        user_charge_set(&a, 4);
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], ==, UINT64_C(4) + UINT32_MAX);
        user_discharge(&b);
        g_assert_cmpuint(a.user->used[USER_UNREAD_BYTES], ==, 4);

        /* What would overflow is above any limit. */
        g_assert_cmpint(user_charge(&users, 1000, USER_UNREAD_BYTES, UINT64_MAX, UINT64_MAX, &b), ==,
                        -EDQUOT);
        user_discharge(&a);
        users_done(&users);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/credit/a window that begins at one and grows", test_window);
        g_test_add_func("/credit/a share for each user", test_shares);
        g_test_add_func("/credit/the fast lane is mainly for those who have answered", test_fast_lane);
        g_test_add_func("/credit/those who wait get it in turn", test_wake_up_in_turn);
        g_test_add_func("/credit/nobody sleeps while there is room", test_nobody_sleeps);
        g_test_add_func("/credit/descriptors that are no connections", test_extra);
        g_test_add_data_func("/credit/receipts count as well", GUINT_TO_POINTER(48), test_receipts);
        g_test_add_data_func("/credit/receipts count as well, with the highest limit", GUINT_TO_POINTER(56),
                             test_receipts);
        g_test_add_func("/credit/one receipt beyond a small limit", test_receipts_beyond_the_limit);
        g_test_add_func("/user/each user is charged separately", test_users);
        g_test_add_func("/user/a charge is changed and given back", test_amounts);

        return g_test_run();
}
