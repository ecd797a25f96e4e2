/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How many descriptors each client may have on the bus.
 *
 * The bus carries few descriptors for the service, and those sent to a client that does not read stay there.
 * So the Budget has two parts. The reserved one has a small share for each user, which no other user can
 * take. The common one is mainly for clients that read: the fewer they are, the faster they are. Besides,
 * each client has a window of its own, which begins at one and doubles each time the client has read all of
 * it.
 *
 * A client without credit stops accepting and is resumed in FIFO order.
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
        uint32_t reserved;
        uint32_t share; /* of the reserved part, for each user */
        uint32_t common;
        TAILQ_HEAD(, Credit) queue; /* clients that have a window, but found no room in the budget */
};

/* Called when there is credit again. Takes all the credit that it needs before it returns. */
typedef void (*CreditCallback)(void *userdata);

/* One client's. */
struct Credit {
        Budget *budget;
        UserCharge reserved;
        UserCharge common;
        uint32_t window;
        uint32_t window_max;
        uint32_t used; /* of the window */
        bool is_queued;
        bool receipts; /* a message may carry a receipt besides its connections */
        CreditCallback callback;
        void *userdata;
        TAILQ_ENTRY(Credit) link;
};

void budget_init(Budget *budget, Users *users, uint32_t limit);

/* Requires that credit_done() was called for all its credits. */
void budget_done(Budget *budget);

/* Resumes clients that wait, if there is more now. */
void budget_set_limit(Budget *budget, uint32_t limit);

uint32_t budget_get_used(const Budget *budget);

/* Returns 0 or -ENOMEM. */
int credit_init(Credit *credit,
                Budget *budget,
                uid_t uid,
                uint32_t window_max,
                CreditCallback callback,
                void *userdata);

/* Gives everything back. */
void credit_done(Credit *credit);

/* Descriptors beyond the new window are not recalled; they are not replaced when the client has read them. */
void credit_set_window_max(Credit *credit, uint32_t window_max);

/* The client has not read anything yet. */
bool credit_is_new(const Credit *credit);

uint32_t credit_get_window(const Credit *credit);

/* From now on each message may carry a receipt besides its connections, and room is kept for it. */
void credit_expect_receipts(Credit *credit);

/* Nothing of the window is left. */
bool credit_is_full(const Credit *credit);

/* Doubles the window: the client has read. */
void credit_grow(Credit *credit);

/* How many connections may be sent now. If the window has room and the budget has none, the client is
 * queued, and its callback is called later. */
uint32_t credit_request_room(Credit *credit);

/* Takes one of what credit_request_room() returned. Returns the slot that it is charged to. */
UserSlot credit_take(Credit *credit);

/* The bus no longer has the descriptor. Clients that wait are resumed by credit_wake(), so that many
 * descriptors can be given back before. */
void credit_return(Credit *credit, UserSlot slot);
void credit_wake(Credit *credit);

/* Takes a descriptor that is no connection. In the window, it may go one beyond it. Returns false if the
 * budget has no room: the client queues up then. */
bool credit_take_extra(Credit *credit, bool in_window, UserSlot *ret_slot);
void credit_return_extra(Credit *credit, bool in_window, UserSlot slot);
