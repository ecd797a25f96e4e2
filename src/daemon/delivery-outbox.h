/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What has been sent over the bus to one client, and whether it has it.
 *
 * After the messages that carry connections goes a barrier: a call of org.freedesktop.DBus.Peer.Ping, which
 * nearly every D-Bus library answers without its program's help. The bus keeps the order, so the answer
 * proves that everything before it has left the bus, and its descriptors no longer count there. One barrier
 * is under way at a time and stands for all that went before it: a busy client costs a fraction of a barrier
 * for each connection, and no client more than one of the few calls that dbus-daemon lets us wait for.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct sd_bus sd_bus;
typedef struct Budget Budget;
typedef struct Delivery Delivery;
typedef struct Handoff Handoff;
typedef struct Outbox Outbox;

int outbox_new(sd_bus *bus, const char *destination, Budget *budget, uint32_t window, Outbox **ret);

/* The client has left the bus. No delivery uses the outbox any more. */
Outbox *outbox_free(Outbox *outbox);

/* How many connections may be on the way to the client. */
void outbox_set_window(Outbox *outbox, uint32_t window);

sd_bus *outbox_get_bus(Outbox *outbox);
const char *outbox_get_destination(Outbox *outbox);

/* How many connections may be sent now. If it is 0, the delivery's room event will follow. */
uint32_t outbox_get_room(Outbox *outbox, Delivery *delivery);

/* Takes one of the room. 'by_barrier': a barrier's answer confirms the connection; otherwise the client does
 * so itself, through outbox_confirm(). */
void outbox_add(Outbox *outbox, Handoff *handoff, bool by_barrier);

/* Sends a barrier if something needs one and none is under way. */
void outbox_flush(Outbox *outbox);

/* The client has it: tells the delivery, frees the handoff. Its room comes back with outbox_give_back(). */
void outbox_confirm(Outbox *outbox, Handoff *handoff);
void outbox_give_back(Outbox *outbox, uint32_t n);

/* Whose listener is gone: it is closed, only the bus still has to let go of it, which a barrier tells. */
void outbox_orphan(Outbox *outbox, Handoff *handoff);

/* It shall wait for another client. The client of this outbox has left. */
void outbox_recall(Outbox *outbox, Handoff *handoff);

/* The delivery uses this outbox no more. */
void outbox_forget(Outbox *outbox, Delivery *delivery);
