/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The descriptors that have been sent to one client over the bus, and whether the client has read them.
 *
 * After the messages that carry connections follows a barrier: a call of org.freedesktop.DBus.Peer.Ping,
 * which nearly every D-Bus library answers without help of its program. The bus keeps the order of messages,
 * so the answer proves that all earlier messages have left the bus and that their descriptors no longer count
 * there. A barrier covers all messages before it. One barrier is on the bus at a time, two for a client with
 * a large window: a busy client costs a fraction of a barrier for each connection, and dbus-daemon limits the
 * number of open calls.
 *
 * Some libraries do not answer Ping, and no library does in a blocking call. Their clients get another
 * descriptor as a receipt, which is closed when the client has read and freed the message.
 *
 * A probe comes first, and tells whether the client takes descriptors at all.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/outbox/waiter.h"
#include "daemon/policy/credit.h"

typedef struct Handoff Handoff;
typedef struct Outbox Outbox;
typedef struct Traffic Traffic;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;

int outbox_new(Traffic *traffic, const char *destination, uid_t uid, uint32_t window_max, Outbox **ret);

/* The client has left the bus. Connections in unread messages wait in their deliveries again. */
Outbox *outbox_free(Outbox *outbox);

void outbox_set_window_max(Outbox *outbox, uint32_t window_max);

sd_bus *outbox_get_bus(Outbox *outbox);
const char *outbox_get_destination(Outbox *outbox);

/* Returns how many connections may be sent now. If that is 0, starts the probe if there was none, and queues
 * the waiter, which is called when there is room. */
uint32_t outbox_request_room(Outbox *outbox, Waiter *waiter);

/* Returns whether a signal without descriptors, of at most 'size' bytes, may be sent to the client; the
 * caller sends it then. Otherwise the client has too much unread, and the waiter is called later. */
bool outbox_admit_signal(Outbox *outbox, uint64_t size, Waiter *waiter);

/* The client has read something: calls the waiters of outbox_admit_signal(). */
void outbox_admit_again(Outbox *outbox);

/* Whether the probe has shown that the client does not take descriptors. */
bool outbox_is_refused(const Outbox *outbox);

/* Whether the probe is on the bus, so that there is no room until the bus has dealt with it. */
bool outbox_is_being_probed(const Outbox *outbox);

/* Calls the waiter when the client leaves the bus. */
void outbox_await_end(Outbox *outbox, Waiter *waiter);

/* Sends a message with n descriptors. They are those of 'first' and the handoffs after it in the queue of
 * their delivery, or, if 'first' is NULL, a channel or a listening socket. Call outbox_flush() afterwards. */
int outbox_send(Outbox *outbox, sd_bus_message *message, Handoff *first, uint32_t n);

/* Reserves room for receipts in the window. Call it before the first outbox_request_room(). */
void outbox_expect_receipts(Outbox *outbox);

/* Creates a receipt for the next message and returns 1 and its descriptor, which the caller closes. If the
 * message is sent, outbox_seal_receipt() has to follow, else outbox_detach_receipt(). Returns 0 if there is
 * no room for another descriptor; the waiter is called later. */
int outbox_attach_receipt(Outbox *outbox, Waiter *waiter, int *ret_fd);
void outbox_detach_receipt(Outbox *outbox);
void outbox_seal_receipt(Outbox *outbox);

/* Sends a barrier if there are messages without one, unless another barrier is on the bus and the window is
 * still large enough. 'more': other messages follow at once, and the barrier is better sent after them. */
void outbox_flush(Outbox *outbox, bool more);
