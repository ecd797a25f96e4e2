/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/policy/user.h"

#define ROOT_RESERVE_MAX 16

void users_done(Users *users) {
        assert(!users->by_uid);
}

static int user_new(Users *users, uid_t uid, User **ret) {
        User *user;

        user = calloc(1, sizeof(*user));
        if (!user)
                return -ENOMEM;

        user->users = users;
        user->uid = uid;
        HASH_ADD(hh, users->by_uid, uid, sizeof(user->uid), user);
        if (!hash_was_added(&user->hh)) {
                free(user);
                return -ENOMEM;
        }

        *ret = user;
        return 0;
}

int user_charge(Users *users, uid_t uid, UserSlot slot, uint64_t amount, uint64_t limit, UserCharge *charge) {
        User *user;
        int r;

        assert(!charge->user);

        HASH_FIND(hh, users->by_uid, &uid, sizeof(uid), user);

        if (amount > limit || (user && user->used[slot] > limit - amount))
                return -EDQUOT;

        if (!user) {
                r = user_new(users, uid, &user);
                if (r < 0)
                        return r;
        }

        user->n_charges++;
        *charge = (UserCharge) { .user = user, .slot = slot };
        user_charge_set(charge, amount);
        return 0;
}

static uint64_t get_root_reserve(uint64_t limit) {
        return limit / 8 < ROOT_RESERVE_MAX ? limit / 8 : ROOT_RESERVE_MAX;
}

int user_charge_shared(Users *users,
                       uid_t uid,
                       UserSlot slot,
                       uint64_t limit,
                       uint64_t limit_per_user,
                       UserCharge *charge) {
        uint64_t reserved = 0;
        User *user;

        if (uid != 0) {
                HASH_FIND(hh, users->by_uid, &uid, sizeof(uid), user);
                reserved = get_root_reserve(limit) + (user && user->used[slot] > 0 ? limit / 4 : 0);
        }

        if (users->used[slot] + reserved >= limit)
                return -ENOSPC;

        return user_charge(users, uid, slot, 1, limit_per_user, charge);
}

void user_charge_set(UserCharge *charge, uint64_t amount) {
        User *user = charge->user;

        assert(user);
        assert(user->used[charge->slot] >= charge->amount);

        user->used[charge->slot] += amount - charge->amount;
        user->users->used[charge->slot] += amount - charge->amount;
        charge->amount = amount;
}

void user_discharge(UserCharge *charge) {
        User *user = charge->user;

        if (!user)
                return;

        user_charge_set(charge, 0);
        charge->user = NULL;

        assert(user->n_charges > 0);
        user->n_charges--;
        if (user->n_charges == 0) {
                HASH_DEL(user->users->by_uid, user);
                free(user);
        }
}
