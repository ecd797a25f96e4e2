/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The state that all outboxes share, and the dispatch of errors from the bus to the outbox of the message. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "daemon/policy/credit.h"

typedef struct Store Store;

/* A sender with messages on the bus. Embedded. */
typedef struct TrafficMember {
        /* The bus has refused the message with this cookie. Returns whether the message was the member's. */
        bool (*refused)(struct TrafficMember *member, uint64_t cookie, const sd_bus_error *error);
        bool is_listed;
        TAILQ_ENTRY(TrafficMember) link;
} TrafficMember;

/* Called with the userdata of traffic_init(). */
typedef struct TrafficEvents {
        /* Returns whether an unsolicited signal without descriptors, of at most 'size' bytes, may be sent to
         * the client. If not, outbox_admit_again() is called later. */
        bool (*admit_signal)(const char *destination, uint64_t size, void *userdata);
} TrafficEvents;

typedef struct Traffic {
        const TrafficEvents *events;
        void *userdata;
        sd_bus *bus;
        Store *store;  /* of the connections; or NULL */
        Budget budget; /* of descriptors on the bus */
        Budget calls;  /* that clients have not answered */
        TAILQ_HEAD(, TrafficMember) members;
        sd_bus_slot *errors;
        uint64_t test_cookie;
        bool is_daemon; /* the bus is dbus-daemon, which answers a signal that it refuses with an error */
        bool counts;    /* the bus reports how many descriptors wait for a client */
} Traffic;

int traffic_init(Traffic *traffic,
                 sd_bus *bus,
                 Store *store,
                 Users *users,
                 uint32_t limit,
                 const TrafficEvents *events,
                 void *userdata);
void traffic_done(Traffic *traffic);

/* Asks the bus about the messages that were sent to the client before; the answer comes after all refusals of
 * them. 'count': how many descriptors wait for the client. dbus-daemon always reports that; for dbus-broker
 * it is expensive. */
int traffic_ask(Traffic *traffic,
                const char *client,
                bool count,
                sd_bus_slot **ret,
                sd_bus_message_handler_t handler,
                void *userdata);

/* Reads the answer to traffic_ask() with the same arguments. Without a count, the number is 0. */
int traffic_read_answer(Traffic *traffic,
                        const char *client,
                        bool count,
                        sd_bus_message *answer,
                        uint32_t *ret_waiting);

/* Whether a message is on the bus. */
bool traffic_is_busy(const Traffic *traffic);

/* Both may be called again. */
void traffic_join(Traffic *traffic, TrafficMember *member);
void traffic_leave(Traffic *traffic, TrafficMember *member);
