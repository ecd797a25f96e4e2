/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What each user (uid) has of the service.
 *
 * A QuotaCharge is embedded in the object that is charged for, a listener or a request, and remembers whom
 * to give it back to.
 */

#include <stdint.h>
#include <sys/types.h>

typedef struct Quota Quota;
typedef struct QuotaUser QuotaUser;

typedef enum QuotaKind {
        QUOTA_LISTENERS,
        QUOTA_CHANNELS,
        QUOTA_REQUESTS,
        _QUOTA_KIND_MAX,
} QuotaKind;

typedef struct QuotaCharge {
        QuotaUser *user; /* NULL: nothing is charged */
        QuotaKind kind;
} QuotaCharge;

int quota_new(Quota **ret);
Quota *quota_free(Quota *quota);

/* Charges one of a kind to a user. Returns -EDQUOT if the user has 'limit' of them already. */
int quota_charge(Quota *quota, QuotaCharge *charge, uid_t uid, QuotaKind kind, uint32_t limit);

/* How many of a kind the user has who was charged for this one. */
uint32_t quota_get_used(const QuotaCharge *charge);

/* How many of a kind all users have. */
uint32_t quota_get_total(const Quota *quota, QuotaKind kind);

/* Gives back what was charged, if anything was. */
void quota_discharge(QuotaCharge *charge);
