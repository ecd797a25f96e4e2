/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Credit, the common budget and the quotas: who gets what, and who is woken up when. */

#include <errno.h>
#include <glib.h>

#include "daemon/policy/credit.h"
#include "daemon/policy/quota.h"

typedef struct Taker {
        Credit credit;
        CreditPool pools[64]; /* what it has, oldest first */
        unsigned n;
        unsigned wants; /* takes that much as soon as it is woken up */
        unsigned woken;
} Taker;

static void taker_take(Taker *t) {
        while (t->wants > 0 && credit_get_room(&t->credit) > 0) {
                t->pools[t->n++] = credit_take(&t->credit);
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
                credit_return(&t->credit, t->pools[i]);
        memmove(t->pools, t->pools + n, (t->n - n) * sizeof(t->pools[0]));
        t->n -= n;
        credit_wake(&t->credit);
}

static void test_window(void) {
        Budget budget;
        Taker t;

        budget_init(&budget, 56);
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
}

/* Whatever others do, and however many they are, each user has a share. */
static void test_shares(void) {
        Taker greedy[10], poor;
        Budget budget;

        budget_init(&budget, 56);
        for (unsigned i = 0; i < G_N_ELEMENTS(greedy) - 1; i++)
                taker_init(&greedy[i], &budget, 1000 + i, 16, 100);
        /* Those who have answered before, all that is not set aside and their shares. */
        g_assert_cmpint(budget.used[CREDIT_FAST], ==, 20);
        g_assert_cmpint(budget.used[CREDIT_BASE], ==, 9 * 2);

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
}

/* Clients that never answered may use half of what is not set aside, so that others of their user can begin.
 */
static void test_fast_lane(void) {
        Taker newcomers[20], proven;
        Budget budget;
        unsigned n = 0;

        budget_init(&budget, 56);
        for (unsigned i = 0; i < G_N_ELEMENTS(newcomers); i++) {
                taker_init(&newcomers[i], &budget, 1000, 1, 1);
                n += newcomers[i].n;
        }
        g_assert_cmpint(n, ==, 4 + 10);

        taker_init(&proven, &budget, 1000, 16, 16);
        g_assert_cmpint(proven.n, ==, 10);
        g_assert_cmpint(budget.used[CREDIT_BASE], ==, 4);

        for (unsigned i = 0; i < G_N_ELEMENTS(newcomers); i++)
                credit_done(&newcomers[i].credit);
        credit_done(&proven.credit);
        budget_done(&budget);
}

static void test_wake_up_in_turn(void) {
        Taker a, b, c;
        Budget budget;

        budget_init(&budget, 3); /* a base of two, one for each user, and one beyond */
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
        g_assert_true(TAILQ_EMPTY(&budget.starved));
        budget_done(&budget);
}

static void test_nobody_sleeps(void) {
        Taker a, b, c;
        Budget budget;

        budget_init(&budget, 1);
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
}

static void test_extra(void) {
        Budget budget;
        CreditPool pool;
        Taker a, b;

        budget_init(&budget, 1);
        taker_init(&a, &budget, 1, 1, 0);
        taker_init(&b, &budget, 1, 1, 0);

        g_assert_true(credit_take_extra(&a.credit, false, &pool));
        g_assert_cmpint(budget_get_used(&budget), ==, 1);
        g_assert_false(credit_take_extra(&b.credit, false, &pool));
        credit_return_extra(&a.credit, false, pool);
        credit_wake(&a.credit);
        g_assert_cmpint(b.woken, ==, 1);
        g_assert_cmpint(budget_get_used(&budget), ==, 0);

        credit_done(&a.credit);
        credit_done(&b.credit);
        budget_done(&budget);
}

/* A reply with all that there is room for, and a receipt; nobody ever reads it. Returns how many connections
 * it has. */
static unsigned taker_reply(Taker *t) {
        unsigned n = credit_get_room(&t->credit);
        CreditPool pool;

        if (n == 0)
                return 0;
        g_assert_true(credit_take_extra(&t->credit, true, &pool));
        for (unsigned i = 0; i < n; i++)
                (void) credit_take(&t->credit);
        return n;
}

/* Receipts are on the bus, too, and it can take no more than the limit, however many users there are. */
static void test_receipts(gconstpointer data) {
        unsigned limit = GPOINTER_TO_UINT(data);
        Taker takers[100], blocking;
        Budget budget;
        CreditPool pool;

        budget_init(&budget, limit);
        for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++) {
                /* As many users as their shares are enough for, and one waits in the end. */
                taker_init(&takers[i], &budget, 1000 + i % 8, 16, 0);
                credit_expect_receipts(&takers[i].credit);
                (void) taker_reply(&takers[i]);
        }
        g_assert_cmpint(budget_get_used(&budget), <=, limit);
        g_assert_cmpint(budget.used[CREDIT_FAST], >=, budget.limit[CREDIT_FAST] - 1);

        /* Has been sent a probe, and cannot free it before it has its reply. */
        taker_init(&blocking, &budget, 2000, 1, 0);
        credit_expect_receipts(&blocking.credit);
        g_assert_true(credit_take_extra(&blocking.credit, false, &pool));
        g_assert_cmpint(taker_reply(&blocking), ==, 1);
        g_assert_cmpint(budget_get_used(&budget), <=, limit);

        credit_done(&blocking.credit);
        for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++)
                credit_done(&takers[i].credit);
        g_assert_cmpint(budget_get_used(&budget), ==, 0);
        budget_done(&budget);
}

/* So little that a connection and its receipt do not both fit, and they go all the same. */
static void test_receipts_beyond_the_limit(void) {
        Budget budget;
        Taker t;

        budget_init(&budget, 1);
        taker_init(&t, &budget, 1000, 16, 0);
        credit_expect_receipts(&t.credit);
        g_assert_cmpint(taker_reply(&t), ==, 1);
        g_assert_cmpint(taker_reply(&t), ==, 0);

        credit_done(&t.credit);
        budget_done(&budget);
}

static void test_quota(void) {
        QuotaCharge charges[3] = {}, other = {}, kind = {};
        Quota *quota;

        g_assert_cmpint(quota_new(&quota), ==, 0);

        g_assert_cmpint(quota_charge(quota, charges + 0, 1000, QUOTA_LISTENERS, 2), ==, 0);
        g_assert_cmpint(quota_charge(quota, charges + 1, 1000, QUOTA_LISTENERS, 2), ==, 0);
        g_assert_cmpint(quota_charge(quota, charges + 2, 1000, QUOTA_LISTENERS, 2), ==, -EDQUOT);
        g_assert_null(charges[2].user);

        g_assert_cmpint(quota_charge(quota, &other, 1001, QUOTA_LISTENERS, 2), ==, 0);
        g_assert_cmpint(quota_charge(quota, &kind, 1000, QUOTA_REQUESTS, 1), ==, 0);

        quota_discharge(charges + 0);
        quota_discharge(charges + 0); /* twice is once */
        g_assert_cmpint(quota_charge(quota, charges + 2, 1000, QUOTA_LISTENERS, 2), ==, 0);
        g_assert_cmpint(quota_charge(quota, charges + 0, 1000, QUOTA_LISTENERS, 2), ==, -EDQUOT);

        quota_discharge(charges + 1);
        quota_discharge(charges + 2);
        quota_discharge(&other);
        quota_discharge(&kind);
        g_assert_cmpint(quota_charge(quota, charges + 0, 1000, QUOTA_LISTENERS, 0), ==, -EDQUOT);

        g_assert_null(quota_free(quota));
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
        g_test_add_func("/quota/charges users apart from each other", test_quota);

        return g_test_run();
}
