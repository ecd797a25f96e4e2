/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Credit, the common budget and the quotas: who gets what, and who is woken up when. */

#include <errno.h>
#include <glib.h>

#include "daemon/credit.h"
#include "daemon/quota.h"

typedef struct Taker {
        Credit credit;
        uint32_t wants; /* takes that much as soon as it is woken up */
        unsigned woken;
} Taker;

static void taker_take(Taker *t) {
        while (t->wants > 0 && credit_get_room(&t->credit) > 0) {
                credit_take(&t->credit);
                t->wants--;
        }
}

static void on_available(void *userdata) {
        Taker *t = userdata;

        t->woken++;
        taker_take(t);
}

static void taker_init(Taker *t, Budget *budget, uint32_t window, uint32_t wants) {
        *t = (Taker) { .wants = wants };
        credit_init(&t->credit, budget, window, on_available, t);
        taker_take(t);
}

static void test_window(void) {
        Budget budget;
        Taker t;

        budget_init(&budget, 100);
        taker_init(&t, &budget, 4, 6);
        g_assert_cmpint(t.wants, ==, 2);
        g_assert_cmpint(budget.used, ==, 4);

        credit_give_back(&t.credit, 1);
        g_assert_cmpint(t.woken, ==, 1);
        g_assert_cmpint(t.wants, ==, 1);
        g_assert_cmpint(budget.used, ==, 4);

        credit_done(&t.credit);
        g_assert_cmpint(budget.used, ==, 0);
}

static void test_budget(void) {
        Taker a, b, c;
        Budget budget;

        budget_init(&budget, 4);
        taker_init(&a, &budget, 4, 6);
        taker_init(&b, &budget, 4, 3);
        taker_init(&c, &budget, 4, 3);
        g_assert_cmpint(a.wants, ==, 2);
        g_assert_cmpint(b.wants, ==, 3);
        g_assert_cmpint(c.wants, ==, 3);

        /* The one who gives back does not get it again: others wait for it, in turn. */
        credit_give_back(&a.credit, 1);
        g_assert_cmpint(b.wants, ==, 2);
        g_assert_cmpint(a.wants, ==, 2);
        credit_give_back(&a.credit, 1);
        g_assert_cmpint(c.wants, ==, 2);
        g_assert_cmpint(budget.used, ==, 4);

        /* Who leaves frees all that it had. */
        credit_done(&a.credit);
        g_assert_cmpint(budget.used, ==, 4);
        g_assert_cmpint(b.wants + c.wants, ==, 2);

        credit_done(&b.credit);
        g_assert_cmpint(c.wants, ==, 0);
        credit_done(&c.credit);
        g_assert_cmpint(budget.used, ==, 0);
        g_assert_true(TAILQ_EMPTY(&budget.starved));
}

static void test_wake_up(void) {
        Taker a, b, c;
        Budget budget;

        budget_init(&budget, 1);
        taker_init(&a, &budget, 1, 1);
        taker_init(&b, &budget, 1, 1);
        taker_init(&c, &budget, 1, 1);

        /* The first in the queue has no use for it any more; it must not keep the others asleep. */
        b.wants = 0;
        credit_give_back(&a.credit, 1);
        g_assert_cmpint(b.woken, ==, 1);
        g_assert_cmpint(c.wants, ==, 0);

        credit_done(&a.credit);
        credit_done(&b.credit);
        credit_done(&c.credit);
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

        g_test_add_func("/credit/a window of one's own", test_window);
        g_test_add_func("/credit/a budget for all, in turn", test_budget);
        g_test_add_func("/credit/nobody sleeps while there is room", test_wake_up);
        g_test_add_func("/quota/charges users apart from each other", test_quota);

        return g_test_run();
}
