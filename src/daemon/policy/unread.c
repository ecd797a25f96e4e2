/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "daemon/policy/unread.h"

/* Of the 127 MiB, the rest is for clients below UNREAD_FREE, of which a system bus has no more than 2048, for
 * long answers, for the end of listeners, which is told in any case, and for what carries descriptors. */
#define TOTAL_MAX (UINT64_C(64) * 1024 * 1024)
#define USER_MAX (UINT64_C(16) * 1024 * 1024)
#define UNIDENTIFIED_MAX (UINT64_C(1) * 1024 * 1024)

struct UnreadUser {
        uid_t uid;
        uint64_t bytes;
        uint32_t n_clients;
        UT_hash_handle hh;
};

static int unread_acquire_user(Unread *unread, uid_t uid, UnreadUser **ret) {
        UnreadUser *user;

        HASH_FIND(hh, unread->users, &uid, sizeof(uid), user);
        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return -ENOMEM;

                user->uid = uid;
                HASH_ADD(hh, unread->users, uid, sizeof(user->uid), user);
                if (!hash_was_added(&user->hh)) {
                        free(user);
                        return -ENOMEM;
                }
        }

        user->n_clients++;
        *ret = user;
        return 0;
}

static void unread_release_user(Unread *unread, UnreadUser *user) {
        if (--user->n_clients > 0)
                return;

        HASH_DEL(unread->users, user);
        free(user);
}

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
                r = unread_acquire_user(unread, UNREAD_UNIDENTIFIED, &c->user);
                if (r < 0) {
                        free(c);
                        return r;
                }

                HASH_ADD(hh, unread->clients, name, length, c);
                if (!hash_was_added(&c->hh)) {
                        unread_release_user(unread, c->user);
                        free(c);
                        return -ENOMEM;
                }
        }

        *ret = c;
        return 0;
}

static void client_set_bytes(UnreadClient *c, uint64_t bytes) {
        c->unread->bytes += bytes - c->bytes;
        c->user->bytes += bytes - c->bytes;
        c->bytes = bytes;
}

UnreadClient *unread_client_free(UnreadClient *c) {
        if (!c)
                return NULL;

        client_set_bytes(c, 0);
        unread_release_user(c->unread, c->user);
        HASH_DEL(c->unread->clients, c);
        free(c);
        return NULL;
}

int unread_client_set_uid(UnreadClient *c, uid_t uid) {
        UnreadUser *user;
        int r;

        if (c->user->uid == uid)
                return 0;

        r = unread_acquire_user(c->unread, uid, &user);
        if (r < 0)
                return r;

        user->bytes += c->bytes;
        c->user->bytes -= c->bytes;
        unread_release_user(c->unread, c->user);
        c->user = user;
        return 0;
}

uid_t unread_client_get_uid(const UnreadClient *c) {
        return c->user->uid;
}

uint64_t unread_client_get_user_bytes(const UnreadClient *c) {
        return c->user->bytes;
}

void unread_client_count(UnreadClient *c, uint64_t size) {
        client_set_bytes(c, c->bytes + size);
        c->all += size;
}

void unread_client_count_long(UnreadClient *c, uint64_t size) {
        unread_client_count(c, size);
        c->long_bytes += size;
}

void unread_client_ask(UnreadClient *c) {
        c->asked = c->all;
        c->long_asked = c->long_bytes;
}

void unread_client_set_waiting(UnreadClient *c, uint64_t bytes) {
        c->long_bytes -= c->long_asked;
        c->long_asked = 0;
        bytes += c->all - c->asked;
        client_set_bytes(c, bytes < c->all ? bytes : c->all);
}

static uint64_t left(uint64_t limit, uint64_t used) {
        return limit > used ? limit - used : 0;
}

/* Nobody may have more than it leaves to others, neither a user nor a client of one: several who do not read
 * leave something for the next. */
static uint64_t unread_get_user_limit(const Unread *unread) {
        uint64_t limit = left(TOTAL_MAX, unread->bytes);

        return limit < USER_MAX ? limit : USER_MAX;
}

uint64_t unread_client_get_limit(const UnreadClient *c) {
        uint64_t limit = left(unread_get_user_limit(c->unread), c->user->bytes);

        if (c->user->uid == UNREAD_UNIDENTIFIED && limit > UNIDENTIFIED_MAX)
                return UNIDENTIFIED_MAX;

        return limit > UNREAD_FREE ? limit : UNREAD_FREE;
}

bool unread_client_has_room(const UnreadClient *c, uint64_t size) {
        return left(c->bytes, c->long_bytes) + size <= unread_client_get_limit(c);
}

bool unread_client_has_long_room(const UnreadClient *c, uint64_t size) {
        uint64_t others = c->user->bytes - c->bytes;

        if (c->bytes <= size + UNREAD_FREE && others <= unread_get_user_limit(c->unread))
                return true;

        /* What is not held against short answers is against the next long one. */
        return c->bytes + size <= unread_client_get_limit(c);
}
