/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A pipe, one end of which goes with a message. It hangs up when the last copy of that end is closed, which
 * is when the client's library frees the message. The client has then read all earlier messages. A client
 * cannot forge this, and need not answer anything.
 *
 * A message is also freed when its client dies without having read it, and the hang-up arrives before
 * NameOwnerChanged. The bus is therefore asked first, because NameOwnerChanged comes before its answer. The
 * bus handles its events in batches: it may answer a first call in a batch from before the client's death,
 * and a second one in the next batch, ahead of the death in the same batch. Only the answer to a third call
 * is certain to follow NameOwnerChanged.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/policy/credit.h"

typedef struct Receipt Receipt;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_slot sd_bus_slot;
typedef struct sd_event_source sd_event_source;

/* The receipts that have hung up, until it is known whether their clients have read the messages. Embedded.
 */
typedef struct ReceiptCheck {
        sd_bus *bus;
        TAILQ_HEAD(, Receipt) hung;
        uint64_t n_hung;
        uint64_t until; /* the current calls are about the receipts up to this number */
        unsigned rounds;
        sd_bus_slot *question;
} ReceiptCheck;

typedef struct ReceiptEvents {
        /* The message has left the bus, read or not. */
        void (*hung)(Receipt *receipt, void *userdata);
        /* The message has been read. Frees the receipt. */
        void (*read)(Receipt *receipt, void *userdata);
} ReceiptEvents;

/* The receipts of one client. Embedded. */
typedef struct Receipts {
        ReceiptCheck *check;
        Credit *credit;
        const ReceiptEvents *events;
        void *userdata;
        TAILQ_HEAD(, Receipt) list;
        Receipt *probe; /* of the probe */
        Receipt *open;  /* of the message that is being created */
} Receipts;

struct Receipt {
        uint64_t first;    /* position of the first entry of its message */
        uint64_t position; /* of the last one; the receipt covers all up to here */

        Receipts *receipts;
        TAILQ_ENTRY(Receipt) link;
        bool in_window;
        UserSlot slot; /* that its descriptor is charged to */
        int fd;
        sd_event_source *source;
        uint64_t hung; /* number of the hang-up; 0: not yet */
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

/* Returns 1 and the descriptor for the message, which the caller closes. Returns 0 if the budget has no room;
 * the credit is woken later. 'in_window': the descriptor counts in the client's window. */
int receipts_add(Receipts *receipts, bool in_window, int *ret_fd, Receipt **ret);

/* Returns the receipt of the message with this position, or NULL. */
Receipt *receipts_find(Receipts *receipts, uint64_t position);

/* Whether it is the receipt of the message with this position. */
bool receipt_went_with(const Receipt *receipt, uint64_t position);

Receipt *receipt_free(Receipt *receipt);
