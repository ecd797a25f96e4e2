/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Refuses calls of clients that have too many bytes of unread messages on the bus, before any other code
 * handles them. The refusal itself is held back until the client has read. Signals that others can cause are
 * not sent to such a client.
 *
 * Replies are counted by an estimate when the call arrives, and signals before they are sent. When that
 * exceeds a small amount, dbus-daemon is asked how much waits for the client. This needs nothing from the
 * client: some clients never answer a Ping, and none does while it waits in a blocking call.
 *
 * dbus-broker accounts by the receiving user itself, and does not report it, so that no call is refused
 * there.
 */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "daemon/policy/unread.h"

typedef struct Manager Manager;

/* Embedded in the CallQueue. */
typedef struct UnreadBus {
        Unread unread;
        sd_bus *bus;
        Manager *manager;
        sd_bus_slot *filter;
        sd_event_source *timer; /* asks again about clients with unread messages */
        bool disabled;          /* the bus does not report it */
} UnreadBus;

int unread_bus_init(UnreadBus *u, sd_bus *bus, Manager *manager);
void unread_bus_done(UnreadBus *u);

/* The client has left the bus. */
void unread_bus_forget(UnreadBus *u, const char *name);

/* To be called before a signal of at most so many bytes. Counts it and returns true, or returns false if the
 * client has too many unread messages; its outbox is notified when there is room. */
bool unread_bus_admit_signal(UnreadBus *u, const char *name, uint64_t size);

/* Counts a signal that is sent in any case. */
void unread_bus_count_signal(UnreadBus *u, const char *name, uint64_t size);

/* To be called before a long reply to an identified client. Counts it, or returns a negative errno and sets
 * the error if it is too much for now. */
int unread_bus_admit(UnreadBus *u, sd_bus_message *call, uid_t uid, uint64_t size, Error *error);
