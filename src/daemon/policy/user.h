/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Accounting by user: one User for each uid, with a slot for each resource.
 *
 * A UserCharge is an amount of one resource, charged to one user. It is embedded in the object that uses the
 * resource: a listener has a charge of one listener, a client one of its descriptors on the bus, and one of
 * the bytes that it was sent and has not read. user_charge() takes the amount, user_discharge() gives it back
 * and may be called again. Objects that use more or less with time change their charge in between by
 * user_charge_set().
 *
 * Charges are the references to a User: the first one for a uid creates it, the last one that is given back
 * frees it. A charge may have the amount 0. A client belongs to USER_UNIDENTIFIED until the bus has said its
 * uid; all such clients share that one User.
 *
 * Users is the table of them, and has the sum of each slot over all users. Both structs may be read by
 * all code, and are changed only here.
 *
 * Limits are arguments: a fixed one for each user of user_charge(), and one for all users together of
 * user_charge_shared(). Limits that depend on what others use are where their policy is: credit.h for
 * descriptors, unread.h for bytes.
 */

#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"

#define USER_UNIDENTIFIED ((uid_t) -1)

typedef enum UserSlot {
        USER_LISTENERS,
        USER_CHANNELS,             /* that are open */
        USER_CALLS,                /* that wait for polkit, or to be sent a descriptor */
        USER_RESERVED_DESCRIPTORS, /* on the bus, of the part with a share for each user */
        USER_COMMON_DESCRIPTORS,   /* on the bus, of the rest */
        USER_RESERVED_ANSWERS,     /* to calls of the service, of the part with a share for each user */
        USER_COMMON_ANSWERS,       /* the same, of the rest */
        USER_UNREAD_BYTES,         /* sent, without descriptors, and perhaps not read */
        _USER_SLOT_MAX,
} UserSlot;

typedef struct Users Users;

typedef struct User {
        Users *users;
        uid_t uid;
        uint32_t n_charges; /* references */
        uint64_t used[_USER_SLOT_MAX];
        UT_hash_handle hh;
} User;

/* Embedded; all zeroes is an empty one. */
struct Users {
        User *by_uid;
        uint64_t used[_USER_SLOT_MAX]; /* by all users */
};

typedef struct UserCharge {
        User *user; /* NULL: nothing is charged */
        UserSlot slot;
        uint64_t amount;
} UserCharge;

/* Requires that all charges have been given back. */
void users_done(Users *users);

/* The charge is empty before. Returns 0, -ENOMEM, or -EDQUOT if the user would have more than the limit. */
int user_charge(Users *users, uid_t uid, UserSlot slot, uint64_t amount, uint64_t limit, UserCharge *charge);

/*
 * Charges one object, of which all users together may have 'limit', and each user 'limit_per_user'. Programs
 * of one person can have many uids, so that the limit for each user alone does not prevent that they use up
 * the limit of all. The last part of that is therefore reserved: the last 16 for root, but at most an eighth;
 * and before these a quarter for users that have none yet. Returns 0, -ENOMEM, -ENOSPC for the limit of all
 * users, or -EDQUOT for that of the user.
 */
int user_charge_shared(Users *users,
                       uid_t uid,
                       UserSlot slot,
                       uint64_t limit,
                       uint64_t limit_per_user,
                       UserCharge *charge);

void user_charge_set(UserCharge *charge, uint64_t amount);
void user_discharge(UserCharge *charge);
