/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/hash.h"
#include "base/macros.h"
#include "daemon/policy/quota.h"

struct QuotaUser {
        Quota *quota;
        uid_t uid;
        uint32_t used[_QUOTA_KIND_MAX];
        UT_hash_handle hh;
};

struct Quota {
        QuotaUser *users; /* who has anything at all */
        uint32_t total[_QUOTA_KIND_MAX];
};

int quota_new(Quota **ret) {
        Quota *quota;

        quota = calloc(1, sizeof(*quota));
        if (!quota)
                return -ENOMEM;

        *ret = quota;
        return 0;
}

Quota *quota_free(Quota *quota) {
        QuotaUser *user, *next;

        if (!quota)
                return NULL;

        HASH_ITER(hh, quota->users, user, next) {
                HASH_DEL(quota->users, user);
                free(user);
        }

        free(quota);
        return NULL;
}

int quota_charge(Quota *quota, QuotaCharge *charge, uid_t uid, QuotaKind kind, uint32_t limit) {
        QuotaUser *user;

        HASH_FIND(hh, quota->users, &uid, sizeof(uid), user);

        if (limit == 0 || (user && user->used[kind] >= limit))
                return -EDQUOT;

        if (!user) {
                user = calloc(1, sizeof(*user));
                if (!user)
                        return -ENOMEM;

                user->quota = quota;
                user->uid = uid;
                HASH_ADD(hh, quota->users, uid, sizeof(user->uid), user);
                if (!hash_was_added(&user->hh)) {
                        free(user);
                        return -ENOMEM;
                }
        }

        user->used[kind]++;
        quota->total[kind]++;
        *charge = (QuotaCharge) { .user = user, .kind = kind };
        return 0;
}

uint32_t quota_get_used(const QuotaCharge *charge) {
        return charge->user ? charge->user->used[charge->kind] : 0;
}

uint32_t quota_get_total(const Quota *quota, QuotaKind kind) {
        return quota->total[kind];
}

void quota_discharge(QuotaCharge *charge) {
        QuotaUser *user;

        user = TAKE_PTR(charge->user);
        if (!user)
                return;

        user->used[charge->kind]--;
        user->quota->total[charge->kind]--;

        for (size_t i = 0; i < ELEMENTS(user->used); i++)
                if (user->used[i] > 0)
                        return;

        HASH_DEL(user->quota->users, user);
        free(user);
}
