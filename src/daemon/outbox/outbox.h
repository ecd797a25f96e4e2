/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The descriptors that have been sent to one client over the bus, until they have left the bus.
 *
 * After it has sent messages, the outbox asks the bus how many descriptors wait for the client. Messages to
 * one client keep their order, so that the answer tells which of them have left the bus: all but the last.
 * The client takes no part in this.
 *
 * dbus-daemon holds a message until it has been written to the client's socket. Descriptors that wait there
 * count against a limit of the service, and in the credit of the client; the question is repeated at growing
 * intervals meanwhile.
 *
 * dbus-broker takes each message over for its receiver, and counts it against that quota. Any answer of the
 * bus confirms that. How many descriptors wait for the client is asked only when its credit is used up.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "daemon/outbox/handoff.h"
#include "daemon/outbox/waiter.h"

typedef struct Traffic Traffic;

/* Whether the client's connection to the bus takes descriptors. */
typedef enum OutboxSupport {
        OUTBOX_SUPPORT_UNKNOWN,
        OUTBOX_SUPPORT_ASKED,
        OUTBOX_SUPPORT_NO,
        OUTBOX_SUPPORT_YES,
} OutboxSupport;

/* At most 'max' descriptors are on the bus at a time. */
int outbox_new(Traffic *traffic, const char *destination, uid_t uid, uint32_t max, Outbox **ret);

/* The client has left the bus. Connections that were on the bus wait in their deliveries again. */
Outbox *outbox_free(Outbox *outbox);

void outbox_set_max(Outbox *outbox, uint32_t max);

sd_bus *outbox_get_bus(Outbox *outbox);
const char *outbox_get_destination(Outbox *outbox);

/* Finds out whether the client takes descriptors, once: sends it one, in a message that it may ignore. The
 * bus refuses the message if the client did not negotiate descriptors when it connected. If this is not known
 * yet, queues the waiter, which is called later. */
OutboxSupport outbox_request_support(Outbox *outbox, Waiter *waiter);

/* Returns how many descriptors may be sent now. If that is 0, queues the waiter, which is called when there
 * is room. */
uint32_t outbox_request_room(Outbox *outbox, Waiter *waiter);

/* Returns whether a signal without descriptors, of at most 'size' bytes, may be sent to the client; the
 * caller sends it then. Otherwise the client has too much unread, and the waiter is called later. */
bool outbox_admit_signal(Outbox *outbox, uint64_t size, Waiter *waiter);

/* The client has read something: calls the waiters of outbox_admit_signal(). */
void outbox_admit_again(Outbox *outbox);

/* Calls the waiter when the client leaves the bus. */
void outbox_await_end(Outbox *outbox, Waiter *waiter);

/* Sends a message with n descriptors. They are those of 'first' and the handoffs after it in the queue of
 * their delivery, or, if 'first' is NULL, a channel or a listening socket. Call outbox_flush() afterwards. */
int outbox_send(Outbox *outbox, sd_bus_message *message, Handoff *first, uint32_t n);

/* Returns how many connections may be sent now in method calls. If that is 0, queues the waiter. */
uint32_t outbox_request_call_room(Outbox *outbox, Waiter *waiter);

/* Sends a method call with the connection, without a timeout. It is charged until it is answered. */
int outbox_call(Outbox *outbox, sd_bus_message *message, Handoff *handoff, OutboxAnswered answered);

/* The bus has refused the call with this handoff, and it has to be sent again after a while. */
void outbox_take_back(Outbox *outbox, Handoff *handoff);

/* Asks the bus which messages have left it: at once, or, while messages follow each other, after 16 of them
 * or a millisecond. 'more': another message follows at once, and the question comes after it. */
void outbox_flush(Outbox *outbox, bool more);

/* The same, but a millisecond later even for a single message. */
void outbox_flush_later(Outbox *outbox);
