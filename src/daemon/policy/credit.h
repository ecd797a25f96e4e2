/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How many descriptors each client may have on the bus.
 *
 * dbus-daemon carries few descriptors for the service, and those sent to a client that does not read stay
 * there. So the Budget has two parts. The reserved one has one descriptor for each user, which no other user
 * can take. The common one makes clients faster; a client may take two thirds of the free part, so that the
 * next one gets some as well. Besides, each client has a maximum of its own.
 *
 * dbus-broker counts descriptors against the receiving user and lets no other user suffer. There, the maximum
 * of each client is the only limit: with all connections that a user may have, it stays below the user's
 * quota.
 *
 * A client without credit stops accepting and is resumed in FIFO order.
 *
 * The calls that clients have not answered have a Budget of the same kind: dbus-daemon limits the open calls
 * of one sender, too.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/policy/user.h"

typedef struct Budget Budget;
typedef struct Credit Credit;

struct Budget {
        Users *users; /* to which it is charged */
        UserSlot reserved;
        UserSlot common;
        uint32_t limit;
        bool is_unlimited;
        TAILQ_HEAD(, Credit) queue; /* clients that found no room in the budget */
};

/* Called when there is credit again. Takes all the credit that it needs before it returns. */
typedef void (*CreditCallback)(void *userdata);

/* One client's. */
struct Credit {
        Budget *budget;
        UserCharge reserved;
        UserCharge common;
        uint32_t max;
        bool is_queued;
        CreditCallback callback;
        void *userdata;
        TAILQ_ENTRY(Credit) link;
};

/* The slots are those of the two parts. */
void budget_init(Budget *budget, Users *users, UserSlot reserved, UserSlot common, uint32_t limit);

/* The reserved part of a limit. With the default of 56, 32 users have one descriptor each, and 24 are common.
 */
uint32_t budget_count_reserved(uint32_t limit);

/* Requires that credit_done() was called for all its credits. */
void budget_done(Budget *budget);

/* Resumes clients that wait, if there is more now. */
void budget_set_limit(Budget *budget, uint32_t limit);

/* Whether the bus does not limit the descriptors that one sender has there. */
void budget_set_unlimited(Budget *budget, bool is_unlimited);

/* Returns 0 or -ENOMEM. */
int credit_init(Credit *credit,
                Budget *budget,
                uid_t uid,
                uint32_t max,
                CreditCallback callback,
                void *userdata);

/* Gives everything back. */
void credit_done(Credit *credit);

/* Descriptors beyond the new maximum are not recalled. */
void credit_set_max(Credit *credit, uint32_t max);

/* How many descriptors may be sent now. If the budget has no room, the client is queued, and its callback is
 * called later. */
uint32_t credit_request_room(Credit *credit);

/* Takes one of what credit_request_room() returned. Returns the slot that it is charged to. */
UserSlot credit_take(Credit *credit);

/* The bus no longer has the descriptor. Clients that wait are resumed by credit_wake(), so that many
 * descriptors can be given back before. */
void credit_return(Credit *credit, UserSlot slot);
void credit_wake(Credit *credit);
