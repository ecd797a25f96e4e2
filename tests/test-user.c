/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The accounting by user, and the limits that depend on it: the budget of descriptors on the bus with the
 * order in which clients are resumed, and the bytes that may be unread. */

#include <errno.h>

#include "base/macros.h"
#include "daemon/policy/credit.h"
#include "daemon/policy/unread.h"
#include "daemon/policy/user.h"
#include "register.h"

TEST_ALONE("each user is charged separately") {
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
        user_discharge(charges + 0); /* without effect the second time */
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

/* Returns how many the user could charge. */
static unsigned use_up(Users *users,
                       uid_t uid,
                       uint64_t limit,
                       uint64_t limit_per_user,
                       UserCharge *charges) {
        unsigned n = 0;

        while (user_charge_shared(users, uid, USER_LISTENERS, limit, limit_per_user, charges + n) == 0)
                n++;
        return n;
}

TEST_ALONE("many users leave listeners for others, and all leave some for root") {
        static UserCharge charges[16384];
        UserCharge charge = {};
        Users users = {};
        unsigned n = 0;

        /* With the default limits, subordinate users of one person. */
        for (uid_t uid = 100000; uid < 100016; uid++)
                n += use_up(&users, uid, 16384, 1024, charges + n);
        g_assert_cmpuint(n, ==, 16384 - 4096 - 16 + 4);
        g_assert_cmpint(user_charge_shared(&users, 100000, USER_LISTENERS, 16384, 1024, &charge), ==,
                        -ENOSPC);

        /* Each other user gets one. */
        for (uid_t uid = 1000; uid < 10000; uid++)
                n += use_up(&users, uid, 16384, 1024, charges + n);
        g_assert_cmpuint(n, ==, 16384 - 16);
        g_assert_cmpint(user_charge_shared(&users, 999, USER_LISTENERS, 16384, 1024, &charge), ==, -ENOSPC);

        n += use_up(&users, 0, 16384, 1024, charges + n);
        g_assert_cmpuint(n, ==, 16384);

        for (unsigned i = 0; i < n; i++)
                user_discharge(charges + i);
        users_done(&users);
}

TEST_ALONE("reserves are parts of small limits") {
        static const struct {
                uint64_t limit;
                unsigned first, others, root;
        } cases[] = {
                { 1, 1, 0, 0 }, { 4, 3, 1, 0 }, { 7, 6, 1, 0 }, { 8, 5, 2, 1 }, { 64, 40, 16, 8 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                UserCharge charges[64] = {};
                Users users = {};
                unsigned n, others = 0;

                n = use_up(&users, 1000, cases[i].limit, 100, charges);
                g_assert_cmpuint(n, ==, cases[i].first);
                for (uid_t uid = 1001; uid < 1100; uid++)
                        others += use_up(&users, uid, cases[i].limit, 100, charges + n + others);
                g_assert_cmpuint(others, ==, cases[i].others);
                n += others;
                n += use_up(&users, 0, cases[i].limit, 100, charges + n);
                g_assert_cmpuint(n, ==, cases[i].limit);

                while (n > 0)
                        user_discharge(charges + --n);
                users_done(&users);
        }
}

TEST_ALONE("a charge is changed and given back") {
        UserCharge a = {}, b = {};
        Users users = {};

        g_assert_cmpint(user_charge(&users, 1000, USER_UNREAD_BYTES, 0, UINT64_MAX, &a), ==, 0);
        g_assert_cmpint(user_charge(&users, 1000, USER_UNREAD_BYTES, UINT32_MAX, UINT64_MAX, &b), ==, 0);
        user_charge_set(&a, 10);
        user_charge_set(&a, 4);
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], ==, UINT64_C(4) + UINT32_MAX);
        user_discharge(&b);
        g_assert_cmpuint(a.user->used[USER_UNREAD_BYTES], ==, 4);

        /* A sum that overflows is above any limit. */
        g_assert_cmpint(user_charge(&users, 1000, USER_UNREAD_BYTES, UINT64_MAX, UINT64_MAX, &b), ==,
                        -EDQUOT);
        user_discharge(&a);
        users_done(&users);
}

typedef struct Taker {
        Credit credit;
        UserSlot slots[64]; /* of its descriptors, oldest first */
        unsigned n;
        unsigned wants; /* takes so many when it is resumed */
        unsigned n_resumed;
} Taker;

static void taker_take(Taker *t) {
        while (t->wants > 0 && credit_request_room(&t->credit) > 0) {
                t->slots[t->n++] = credit_take(&t->credit);
                t->wants--;
        }
}

static void on_available(void *userdata) {
        Taker *t = userdata;

        t->n_resumed++;
        taker_take(t);
}

static void taker_init(Taker *t, Budget *budget, uid_t uid, unsigned wants) {
        *t = (Taker) { .wants = wants };
        g_assert_cmpint(credit_init(&t->credit, budget, uid, 20, on_available, t), ==, 0);
        taker_take(t);
}

/* The n oldest have left the bus. */
static void taker_read(Taker *t, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                credit_return(&t->credit, t->slots[i]);
        memmove(t->slots, t->slots + n, (t->n - n) * sizeof(t->slots[0]));
        t->n -= n;
        credit_wake(&t->credit);
}

static uint64_t get_used(const Users *users) {
        return users->used[USER_RESERVED_DESCRIPTORS] + users->used[USER_COMMON_DESCRIPTORS];
}

static void finish(Budget *budget) {
        g_assert_cmpuint(get_used(budget->users), ==, 0);
        budget_done(budget);
        users_done(budget->users);
}

TEST_ALONE("each client has a maximum") {
        Users users = {};
        Budget budget;
        Taker t;

        budget_init(&budget, &users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS, 56);
        taker_init(&t, &budget, 1000, 40);
        g_assert_cmpint(t.n, ==, 1 + 16);

        credit_set_max(&t.credit, 2);
        taker_read(&t, t.n);
        g_assert_cmpint(t.n, ==, 2);

        /* dbus-broker has no limit for the sender. */
        budget_set_unlimited(&budget, true);
        credit_set_max(&t.credit, 20);
        taker_read(&t, 0);
        g_assert_cmpint(t.n, ==, 20);

        credit_done(&t.credit);
        finish(&budget);
}

/* 32 users with many clients that take all they can and never read leave one for each other user. */
TEST_ALONE("each user has a share") {
        Taker greedy[31 * 3], poor;
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS, 56);
        for (unsigned i = 0; i < G_N_ELEMENTS(greedy); i++)
                taker_init(&greedy[i], &budget, 1000 + i % 31, 40);
        g_assert_cmpuint(users.used[USER_COMMON_DESCRIPTORS], ==, 24);
        g_assert_cmpuint(users.used[USER_RESERVED_DESCRIPTORS], ==, 31);

        taker_init(&poor, &budget, 2000, 40);
        g_assert_cmpint(poor.n, ==, 1);
        taker_read(&poor, 1);
        g_assert_cmpint(poor.n, ==, 1);

        for (unsigned i = 0; i < G_N_ELEMENTS(greedy); i++)
                credit_done(&greedy[i].credit);
        credit_done(&poor.credit);
        finish(&budget);
}

TEST_ALONE("each client leaves a part of the common descriptors") {
        static const unsigned expected[] = { 17, 7, 3, 1 };
        Taker takers[G_N_ELEMENTS(expected)];
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS, 56);
        for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++) {
                taker_init(&takers[i], &budget, 1000 + i, 40);
                g_assert_cmpint(takers[i].n, ==, expected[i]);
        }

        for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++)
                credit_done(&takers[i].credit);
        finish(&budget);
}

/* No limit lets the clients have more than it on the bus. */
TEST_ALONE("all clients together stay below each limit") {
        for (unsigned limit = 1; limit <= 64; limit++) {
                Taker takers[70];
                Users users = {};
                Budget budget;

                budget_init(&budget, &users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS, limit);
                for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++)
                        taker_init(&takers[i], &budget, 1000 + i, 40);
                g_assert_cmpuint(get_used(&users), ==, limit);
                for (unsigned i = 0; i < G_N_ELEMENTS(takers); i++)
                        credit_done(&takers[i].credit);
                finish(&budget);
        }
}

TEST_ALONE("clients are resumed in FIFO order") {
        Taker a, b, c;
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS,
                    3); /* two reserved, one for each user, and a common one */
        taker_init(&a, &budget, 1, 2);
        g_assert_cmpint(a.n, ==, 2);
        taker_init(&b, &budget, 1, 2);
        taker_init(&c, &budget, 1, 2);
        g_assert_cmpint(b.n + c.n, ==, 0);

        /* A descriptor that is given back goes to the first client in the queue. */
        taker_read(&a, 1);
        g_assert_cmpint(b.n, ==, 1);
        taker_read(&a, 1);
        g_assert_cmpint(c.n, ==, 1);
        g_assert_cmpint(a.n, ==, 0);

        /* A client that ends gives all of its descriptors back. */
        credit_done(&b.credit);
        g_assert_cmpint(a.n + c.n, ==, 2);

        credit_done(&a.credit);
        credit_done(&c.credit);
        g_assert_true(TAILQ_EMPTY(&budget.queue));
        finish(&budget);
}

TEST_ALONE("no client waits while there is room") {
        Taker a, b, c;
        Users users = {};
        Budget budget;

        budget_init(&budget, &users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS, 1);
        taker_init(&a, &budget, 1, 1);
        taker_init(&b, &budget, 1, 1);
        taker_init(&c, &budget, 1, 1);

        /* The first in the queue needs nothing any more, so the second gets it. */
        b.wants = 0;
        taker_read(&a, 1);
        g_assert_cmpint(b.n_resumed, ==, 1);
        g_assert_cmpint(c.n, ==, 1);

        credit_done(&a.credit);
        credit_done(&b.credit);
        credit_done(&c.credit);
        finish(&budget);
}

#define MIB (UINT64_C(1) << 20)
#define ANSWER UINT64_C(512)

static UnreadClient *new_reader(Unread *unread, uid_t uid) {
        static unsigned n;
        g_autofree char *name = g_strdup_printf(":1.%u", n++);
        UnreadClient *c, *again;

        g_assert_cmpint(unread_acquire_client(unread, name, &c), ==, 0);
        g_assert_cmpint(unread_client_set_uid(c, uid), ==, 0);
        g_assert_cmpint(unread_acquire_client(unread, name, &again), ==, 0);
        g_assert_true(again == c);
        return c;
}

/* Counts replies until there is no more room. Returns how many bytes that were. */
static uint64_t fill(UnreadClient *c) {
        uint64_t before = c->charge.amount;

        while (unread_client_has_room(c, ANSWER))
                unread_client_count(c, ANSWER);
        return c->charge.amount - before;
}

static void finish_unread(Unread *unread) {
        while (unread->clients)
                (void) unread_client_free(unread->clients);
        g_assert_cmpuint(unread->users->used[USER_UNREAD_BYTES], ==, 0);
        users_done(unread->users);
}

TEST_ALONE("each client leaves something for the next") {
        Users users = {};
        Unread unread = { .users = &users };

        g_assert_cmpuint(fill(new_reader(&unread, 1000)), ==, 8 * MIB);
        g_assert_cmpuint(fill(new_reader(&unread, 1000)), ==, 4 * MIB);
        for (unsigned i = 0; i < 254; i++)
                (void) fill(new_reader(&unread, 1000));
        /* UNREAD_FREE of each client comes on top. */
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], <=, 16 * MIB + 256 * UNREAD_FREE);

        g_assert_cmpuint(fill(new_reader(&unread, 1001)), ==, 8 * MIB);
        finish_unread(&unread);
}

/* All clients together leave half of the limit of dbus-daemon, and a client that reads is still served. */
TEST_ALONE("all clients together stay below the limit of the bus") {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c;

        for (uid_t uid = 0; uid < 8; uid++)
                for (unsigned i = 0; i < 255; i++)
                        (void) fill(new_reader(&unread, uid));
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], <=, 64 * MIB + 8 * 255 * UNREAD_FREE);

        c = new_reader(&unread, 1000);
        g_assert_cmpuint(fill(c), ==, UNREAD_FREE);
        unread_client_set_waiting(c, 0);
        g_assert_true(unread_client_has_long_room(c, MIB));
        finish_unread(&unread);
}

TEST_ALONE("unidentified clients share the limit of a user") {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c;

        for (unsigned i = 0; i < 8; i++)
                g_assert_cmpuint(fill(new_reader(&unread, USER_UNIDENTIFIED)), ==, MIB);
        for (unsigned i = 0; i < 1000; i++)
                (void) fill(new_reader(&unread, USER_UNIDENTIFIED));
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], <=, 16 * MIB + 1008 * UNREAD_FREE);

        /* The bytes of a client move with it to its user. */
        c = new_reader(&unread, USER_UNIDENTIFIED);
        g_assert_cmpuint(fill(c), ==, UNREAD_FREE);
        g_assert_cmpint(unread_client_set_uid(c, 1000), ==, 0);
        g_assert_cmpuint(c->charge.user->uid, ==, 1000);
        g_assert_cmpuint(fill(c), ==, 8 * MIB - UNREAD_FREE);
        finish_unread(&unread);
}

TEST_ALONE("bytes sent after the question are added to the answer") {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c = new_reader(&unread, 1000);

        (void) fill(c);
        c->asked = c->sent;
        unread_client_count(c, ANSWER);
        unread_client_set_waiting(c, 1000);
        g_assert_cmpuint(c->charge.amount, ==, 1000 + ANSWER);

        /* The bytes sent after the question are added. */
        unread_client_set_waiting(c, 4000);
        g_assert_cmpuint(c->charge.amount, ==, 4000 + ANSWER);

        /* The rest was sent by others. */
        unread_client_set_waiting(c, UINT32_MAX);
        g_assert_cmpuint(c->charge.amount, ==, c->sent);
        finish_unread(&unread);
}

/* Two long replies, of which the first may have been read, and no third. */
TEST_ALONE("a second long reply may exceed the limit, a third may not") {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c = new_reader(&unread, 1000), *other = new_reader(&unread, 1000);

        for (unsigned i = 0; i < 2; i++) {
                g_assert_false(unread_client_has_room(c, 20 * MIB));
                g_assert_true(unread_client_has_long_room(c, 20 * MIB));
                unread_client_count(c, 20 * MIB);
        }
        g_assert_false(unread_client_has_long_room(c, 20 * MIB));
        g_assert_false(unread_client_has_long_room(other, 20 * MIB));

        (void) unread_client_free(c);
        g_assert_true(unread_client_has_long_room(other, 20 * MIB));
        finish_unread(&unread);
}

/* A long reply does not count against short ones before the bus says that it waits, but against the next long
 * one. */
TEST_ALONE("a short reply may follow a long one") {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c = new_reader(&unread, 1000);

        unread_client_count_long(c, 10 * MIB);
        g_assert_true(unread_client_has_room(c, ANSWER));
        unread_client_ask(c);
        g_assert_true(unread_client_has_room(c, ANSWER));
        unread_client_count(c, ANSWER);
        unread_client_count_long(c, 10 * MIB);
        g_assert_false(unread_client_has_long_room(c, 10 * MIB));

        /* The first was read; the bus was not asked about the second. */
        unread_client_set_waiting(c, 0);
        g_assert_cmpuint(c->charge.amount, ==, 10 * MIB + ANSWER);
        g_assert_true(unread_client_has_room(c, ANSWER));

        unread_client_ask(c);
        unread_client_set_waiting(c, 10 * MIB);
        g_assert_false(unread_client_has_room(c, ANSWER));
        unread_client_ask(c);
        unread_client_set_waiting(c, 0);
        g_assert_true(unread_client_has_room(c, ANSWER));
        finish_unread(&unread);
}
