/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A pipe whose other end goes along with a message. It hangs up when the last copy is closed, which is when
 * the client's library frees the message: what was sent before has been read then. Nobody can pretend that,
 * and it needs no answer.
 *
 * A message is also freed when its client dies with it unread, and that is seen before NameOwnerChanged
 * tells. So the bus is asked something first: what it knew before comes before its answer. It may find the
 * first question in a batch of events from before the client's end, and the second in the very batch that has
 * the end in it, further back; hence three times.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/policy/credit.h"

typedef struct Receipt Receipt;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_slot sd_bus_slot;
typedef struct sd_event_source sd_event_source;

/* All receipts of a bus that hung up, until it is known why. Embedded. */
typedef struct ReceiptCheck {
        sd_bus *bus;
        TAILQ_HEAD(, Receipt) hung;
        uint64_t n_hung;
        uint64_t until; /* all up to here the questions are about */
        unsigned rounds;
        sd_bus_slot *question;
} ReceiptCheck;

/* Told to the one whose receipts they are. */
typedef struct ReceiptEvents {
        /* The bus is rid of the message, whatever became of it. */
        void (*hung)(Receipt *receipt, void *userdata);
        /* The message has been read. Frees the receipt. */
        void (*read)(Receipt *receipt, void *userdata);
} ReceiptEvents;

/* Those of one client. Embedded. */
typedef struct Receipts {
        ReceiptCheck *check;
        Credit *credit;
        const ReceiptEvents *events;
        void *userdata;
        TAILQ_HEAD(, Receipt) list;
        Receipt *probe; /* went with it */
        Receipt *open;  /* goes with the message that is being made */
} Receipts;

struct Receipt {
        uint64_t first;    /* the position of the first thing in its message, */
        uint64_t position; /* and of the last; all up to here it stands for */

        Receipts *receipts;
        TAILQ_ENTRY(Receipt) link;
        bool in_window;
        UserSlot slot; /* that its descriptor is charged to */
        int fd;
        sd_event_source *source;
        uint64_t hung; /* 0: not yet */
        TAILQ_ENTRY(Receipt) hung_link;
};

void receipt_check_init(ReceiptCheck *check, sd_bus *bus);
void receipt_check_done(ReceiptCheck *check);

void receipts_init(Receipts *receipts,
                   ReceiptCheck *check,
                   Credit *credit,
                   const ReceiptEvents *events,
                   void *userdata);
void receipts_done(Receipts *receipts);

/* Gives out the descriptor that goes along, which the caller closes. In the window it is one of what the
 * client may have, not beyond it. Returns 0 if the budget has no room for it; the credit will be woken up
 * then. */
int receipts_add(Receipts *receipts, bool in_window, int *ret_fd, Receipt **ret);

/* The one that went with the message of what is at that position, or NULL. */
Receipt *receipts_find(Receipts *receipts, uint64_t position);

/* Whether it went with the message of what is at that position. */
bool receipt_went_with(const Receipt *receipt, uint64_t position);

Receipt *receipt_free(Receipt *receipt);
