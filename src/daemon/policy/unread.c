/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/policy/unread.h"

/* The rest of the 127 MiB is for clients below UNREAD_FREE, of which a system bus has at most 2048, for long
 * replies, for the signal Closed, which is always sent, and for messages with descriptors. */
#define TOTAL_MAX (UINT64_C(64) * 1024 * 1024)
#define USER_MAX (UINT64_C(16) * 1024 * 1024)
#define UNIDENTIFIED_MAX (UINT64_C(1) * 1024 * 1024)

UnreadClient *unread_find_client(Unread *unread, const char *name) {
        UnreadClient *c;

        HASH_FIND(hh, unread->clients, name, strlen(name), c);
        return c;
}

int unread_acquire_client(Unread *unread, const char *name, UnreadClient **ret) {
        size_t length = strlen(name);
        UnreadClient *c;
        int r;

        c = unread_find_client(unread, name);
        if (!c) {
                c = calloc(1, sizeof(*c) + length + 1);
                if (!c)
                        return -ENOMEM;

                c->unread = unread;
                memcpy(c->name, name, length + 1);
                r = user_charge(unread->users, USER_UNIDENTIFIED, USER_UNREAD_BYTES, 0, UINT64_MAX,
                                &c->charge);
                if (r < 0) {
                        free(c);
                        return r;
                }

                HASH_ADD(hh, unread->clients, name, length, c);
                if (!hash_was_added(&c->hh)) {
                        user_discharge(&c->charge);
                        free(c);
                        return -ENOMEM;
                }
        }

        *ret = c;
        return 0;
}

UnreadClient *unread_client_free(UnreadClient *c) {
        if (!c)
                return NULL;

        user_discharge(&c->charge);
        HASH_DEL(c->unread->clients, c);
        free(c);
        return NULL;
}

int unread_client_set_uid(UnreadClient *c, uid_t uid) {
        UserCharge charge = {};
        int r;

        if (c->charge.user->uid == uid)
                return 0;

        r = user_charge(c->unread->users, uid, USER_UNREAD_BYTES, c->charge.amount, UINT64_MAX, &charge);
        if (r < 0)
                return r;

        user_discharge(&c->charge);
        c->charge = charge;
        return 0;
}

void unread_client_count(UnreadClient *c, uint64_t size) {
        user_charge_set(&c->charge, c->charge.amount + size);
        c->sent += size;
}

void unread_client_count_long(UnreadClient *c, uint64_t size) {
        unread_client_count(c, size);
        c->long_bytes += size;
}

void unread_client_ask(UnreadClient *c) {
        c->asked = c->sent;
        c->long_asked = c->long_bytes;
}

void unread_client_set_waiting(UnreadClient *c, uint64_t bytes) {
        assert(c->asked <= c->sent);
        assert(c->long_asked <= c->long_bytes);

        c->long_bytes -= c->long_asked;
        c->long_asked = 0;
        bytes += c->sent - c->asked;
        user_charge_set(&c->charge, bytes < c->sent ? bytes : c->sent);
}

static uint64_t subtract(uint64_t limit, uint64_t used) {
        return limit > used ? limit - used : 0;
}

/* A user may have no more unread bytes than are still free for all users, and a client no more than are still
 * free for its user. So each takes only a part of the free bytes, and leaves room for the next. */
static uint64_t get_user_limit(const Users *users) {
        uint64_t limit = subtract(TOTAL_MAX, users->used[USER_UNREAD_BYTES]);

        return limit < USER_MAX ? limit : USER_MAX;
}

uint64_t unread_client_get_limit(const UnreadClient *c) {
        const User *user = c->charge.user;
        uint64_t limit = subtract(get_user_limit(user->users), user->used[USER_UNREAD_BYTES]);

        if (user->uid == USER_UNIDENTIFIED && limit > UNIDENTIFIED_MAX)
                return UNIDENTIFIED_MAX;

        return limit > UNREAD_FREE ? limit : UNREAD_FREE;
}

bool unread_client_has_room(const UnreadClient *c, uint64_t size) {
        return subtract(c->charge.amount, c->long_bytes) + size <= unread_client_get_limit(c);
}

bool unread_client_has_long_room(const UnreadClient *c, uint64_t size) {
        const User *user = c->charge.user;
        uint64_t others = user->used[USER_UNREAD_BYTES] - c->charge.amount;

        if (c->charge.amount <= size + UNREAD_FREE && others <= get_user_limit(user->users))
                return true;

        /* Long replies that the bus was not asked about count against the next long one. */
        return c->charge.amount + size <= unread_client_get_limit(c);
}
