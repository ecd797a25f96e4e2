/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All outboxes together: what is under way on the bus, and what the bus says that it could not pass on. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "daemon/outbox/receipt.h"
#include "daemon/policy/credit.h"

typedef struct Store Store;

/* Somebody who has something under way. Embedded. */
typedef struct TrafficMember {
        /* The bus did not pass on the message with that cookie. Returns whether it was the member's. */
        bool (*refused)(struct TrafficMember *member, uint64_t cookie, const sd_bus_error *error);
        bool is_listed;
        TAILQ_ENTRY(TrafficMember) link;
} TrafficMember;

/* Asked of the one who created it; userdata is what came with it. */
typedef struct TrafficEvents {
        /* Whether the client may be sent a signal of not more than so many bytes that it has not asked for,
         * and that carries nothing: only what carries descriptors is counted here. After a no its outbox is
         * told by outbox_admit_again(). */
        bool (*admit_signal)(const char *destination, uint64_t size, void *userdata);
} TrafficEvents;

typedef struct Traffic {
        const TrafficEvents *events;
        void *userdata;
        sd_bus *bus;
        Store *store; /* where connections are kept, or NULL */
        Budget budget;
        ReceiptCheck receipts; /* those that hung up */
        TAILQ_HEAD(, TrafficMember) members;
        sd_bus_slot *errors;
        uint64_t test_cookie;
        bool tells_refusals; /* an error comes back for a signal that could not be passed on */
} Traffic;

int traffic_init(Traffic *traffic,
                 sd_bus *bus,
                 Store *store,
                 Users *users,
                 uint32_t limit,
                 const TrafficEvents *events,
                 void *userdata);
void traffic_done(Traffic *traffic);

/* Either may be called again. */
void traffic_join(Traffic *traffic, TrafficMember *member);
void traffic_leave(Traffic *traffic, TrafficMember *member);
