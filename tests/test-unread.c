/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How much may wait for clients that do not read. */

#include <glib.h>

#include "base/macros.h"
#include "daemon/policy/unread.h"

#define MIB (UINT64_C(1) << 20)
#define ANSWER UINT64_C(512)

static UnreadClient *new_client(Unread *unread, uid_t uid) {
        static unsigned n;
        g_autofree char *name = g_strdup_printf(":1.%u", n++);
        UnreadClient *c, *again;

        g_assert_cmpint(unread_acquire_client(unread, name, &c), ==, 0);
        g_assert_cmpint(unread_client_set_uid(c, uid), ==, 0);
        g_assert_cmpint(unread_acquire_client(unread, name, &again), ==, 0);
        g_assert_true(again == c);
        return c;
}

/* It takes all that it may have, and returns how much that was. */
static uint64_t fill(UnreadClient *c) {
        uint64_t before = c->charge.amount;

        while (unread_client_has_room(c, ANSWER))
                unread_client_count(c, ANSWER);
        return c->charge.amount - before;
}

static void done(Unread *unread) {
        while (unread->clients)
                (void) unread_client_free(unread->clients);
        g_assert_cmpuint(unread->users->used[USER_UNREAD_BYTES], ==, 0);
        users_done(unread->users);
}

static void test_share(void) {
        Users users = {};
        Unread unread = { .users = &users };

        g_assert_cmpuint(fill(new_client(&unread, 1000)), ==, 8 * MIB);
        g_assert_cmpuint(fill(new_client(&unread, 1000)), ==, 4 * MIB);
        for (unsigned i = 0; i < 254; i++)
                (void) fill(new_client(&unread, 1000));
        /* What each may always have comes on top. */
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], <=, 16 * MIB + 256 * UNREAD_FREE);

        g_assert_cmpuint(fill(new_client(&unread, 1001)), ==, 8 * MIB);
        done(&unread);
}

/* All together leave half of what dbus-daemon takes, and who reads has what it needs. */
static void test_total(void) {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c;

        for (uid_t uid = 0; uid < 8; uid++)
                for (unsigned i = 0; i < 255; i++)
                        (void) fill(new_client(&unread, uid));
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], <=, 64 * MIB + 8 * 255 * UNREAD_FREE);

        c = new_client(&unread, 1000);
        g_assert_cmpuint(fill(c), ==, UNREAD_FREE);
        unread_client_set_waiting(c, 0);
        g_assert_true(unread_client_has_long_room(c, MIB));
        done(&unread);
}

static void test_strangers(void) {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c;

        for (unsigned i = 0; i < 8; i++)
                g_assert_cmpuint(fill(new_client(&unread, USER_UNIDENTIFIED)), ==, MIB);
        for (unsigned i = 0; i < 1000; i++)
                (void) fill(new_client(&unread, USER_UNIDENTIFIED));
        g_assert_cmpuint(users.used[USER_UNREAD_BYTES], <=, 16 * MIB + 1008 * UNREAD_FREE);

        /* It takes what it has along. */
        c = new_client(&unread, USER_UNIDENTIFIED);
        g_assert_cmpuint(fill(c), ==, UNREAD_FREE);
        g_assert_cmpint(unread_client_set_uid(c, 1000), ==, 0);
        g_assert_cmpuint(c->charge.user->uid, ==, 1000);
        g_assert_cmpuint(fill(c), ==, 8 * MIB - UNREAD_FREE);
        done(&unread);
}

static void test_waiting(void) {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c = new_client(&unread, 1000);

        (void) fill(c);
        c->asked = c->sent;
        unread_client_count(c, ANSWER);
        unread_client_set_waiting(c, 1000);
        g_assert_cmpuint(c->charge.amount, ==, 1000 + ANSWER);

        /* It was said to have been read, before it was sent. */
        unread_client_set_waiting(c, 4000);
        g_assert_cmpuint(c->charge.amount, ==, 4000 + ANSWER);

        /* The rest is others'. */
        unread_client_set_waiting(c, UINT32_MAX);
        g_assert_cmpuint(c->charge.amount, ==, c->sent);
        done(&unread);
}

/* One that was not read, and the next; no third. */
static void test_long(void) {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c = new_client(&unread, 1000), *other = new_client(&unread, 1000);

        for (unsigned i = 0; i < 2; i++) {
                g_assert_false(unread_client_has_room(c, 20 * MIB));
                g_assert_true(unread_client_has_long_room(c, 20 * MIB));
                unread_client_count(c, 20 * MIB);
        }
        g_assert_false(unread_client_has_long_room(c, 20 * MIB));
        g_assert_false(unread_client_has_long_room(other, 20 * MIB));

        (void) unread_client_free(c);
        g_assert_true(unread_client_has_long_room(other, 20 * MIB));
        done(&unread);
}

/* A long answer is not held against short ones before the bus says that it waits, but against the next long
 * one. */
static void test_after_a_long_one(void) {
        Users users = {};
        Unread unread = { .users = &users };
        UnreadClient *c = new_client(&unread, 1000);

        unread_client_count_long(c, 10 * MIB);
        g_assert_true(unread_client_has_room(c, ANSWER));
        unread_client_ask(c);
        g_assert_true(unread_client_has_room(c, ANSWER));
        unread_client_count(c, ANSWER);
        unread_client_count_long(c, 10 * MIB);
        g_assert_false(unread_client_has_long_room(c, 10 * MIB));

        /* The first was read, and nobody knows of the second. */
        unread_client_set_waiting(c, 0);
        g_assert_cmpuint(c->charge.amount, ==, 10 * MIB + ANSWER);
        g_assert_true(unread_client_has_room(c, ANSWER));

        unread_client_ask(c);
        unread_client_set_waiting(c, 10 * MIB);
        g_assert_false(unread_client_has_room(c, ANSWER));
        unread_client_ask(c);
        unread_client_set_waiting(c, 0);
        g_assert_true(unread_client_has_room(c, ANSWER));
        done(&unread);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/unread/each leaves something for the next", test_share);
        g_test_add_func("/unread/all together have less than the bus takes", test_total);
        g_test_add_func("/unread/strangers share what a user may have", test_strangers);
        g_test_add_func("/unread/what waits is what the bus has, and what came after", test_waiting);
        g_test_add_func("/unread/a long answer may be one too many", test_long);
        g_test_add_func("/unread/a short one comes after a long one", test_after_a_long_one);
        return g_test_run();
}
