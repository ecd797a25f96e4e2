/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What has been sent over the bus to one client, and whether it has it.
 *
 * After the messages that carry connections goes a barrier: a call of org.freedesktop.DBus.Peer.Ping, which
 * nearly every D-Bus library answers without its program's help. The bus keeps the order, so the answer
 * proves that everything before it has left the bus, and its descriptors no longer count there. A barrier
 * stands for all that went before it, and one is under way at a time, two for a client with a large window: a
 * busy client costs a fraction of a barrier for each connection, and few of the calls that dbus-daemon lets
 * us wait for.
 *
 * Where no answer can be had, since the client's library answers no Pings or its program waits for a reply in
 * a blocking call, a descriptor goes along as a receipt: it is closed when the message has been read and
 * freed.
 *
 * Neither begins before a probe has told whether the client takes descriptors at all.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/outbox/waiter.h"
#include "daemon/policy/credit.h"

typedef struct Delivery Delivery;
typedef struct Handoff Handoff;
typedef struct Outbox Outbox;
typedef struct Traffic Traffic;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_message sd_bus_message;

int outbox_new(Traffic *traffic, const char *destination, uid_t uid, uint32_t window_max, Outbox **ret);

/* The client has left the bus. What it did not confirm waits in its deliveries again. */
Outbox *outbox_free(Outbox *outbox);

void outbox_set_window_max(Outbox *outbox, uint32_t window_max);

sd_bus *outbox_get_bus(Outbox *outbox);
const char *outbox_get_destination(Outbox *outbox);

/* Returns how many connections may be sent now. If that is 0, starts the probe if there was none, and queues
 * the waiter, which is called when there is room. */
uint32_t outbox_request_room(Outbox *outbox, Waiter *waiter);

/* Whether the client may be sent a signal of not more than so many bytes that carries nothing; it is to be
 * sent then. If not, as it has too much unread, the waiter is called later. */
bool outbox_admit_signal(Outbox *outbox, uint64_t size, Waiter *waiter);

/* There is room for such signals: those who were not admitted try again. */
void outbox_admit_again(Outbox *outbox);

/* This client does not take descriptors. */
bool outbox_is_refused(const Outbox *outbox);

/* There is no room yet, but that is up to the bus and not to the client. */
bool outbox_is_being_probed(const Outbox *outbox);

/* The waiter is called when the client leaves. */
void outbox_await_end(Outbox *outbox, Waiter *waiter);

/* Sends a message that carries connections. The cookie is for outbox_add(). */
int outbox_send(Outbox *outbox, sd_bus_message *message, uint64_t *ret_cookie);

/* A connection that was in the message with that cookie. 'by_barrier': that the message has been read
 * confirms it to its delivery; otherwise only the client itself does. */
void outbox_add(Outbox *outbox, Handoff *handoff, uint64_t cookie, bool by_barrier);

/* To this client will go messages that carry their own receipt. To be called before the first is asked room
 * for. */
void outbox_expect_receipts(Outbox *outbox);

/* For a message that carries its own receipt: the descriptor to be put into it, which the caller closes. Then
 * either the message is not sent, and the receipt detached, or its connections are added, and the receipt
 * sealed: it stands for them. Returns 0 if there is no room for another descriptor; the waiter is called
 * later. */
int outbox_attach_receipt(Outbox *outbox, Waiter *waiter, int *ret_fd);
void outbox_detach_receipt(Outbox *outbox);
void outbox_seal_receipt(Outbox *outbox);

/* A descriptor in the message with that cookie that is no connection. Flushes. */
int outbox_add_descriptor(Outbox *outbox, uint64_t cookie);

/* Sends a barrier if something needs one, unless one is under way that will soon make it worth more. 'more':
 * so does what follows at once. */
void outbox_flush(Outbox *outbox, bool more);

/* Those who wait for room get what there is. */
void outbox_wake(Outbox *outbox);

/* Whose listener is gone: it is closed, only the bus still has to let go of it, which a barrier tells. */
void outbox_orphan(Outbox *outbox, Handoff *handoff);
