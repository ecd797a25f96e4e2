/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sees each call before anybody else does, and refuses those of clients that have too much unread. What tells
 * them so waits until they have read. Signals that a client has not asked for, and that others may cause, are
 * not sent to it then.
 *
 * Answers are counted by an estimate, when the call comes in, and signals before they are sent. Once there
 * may be more than a little, dbus-daemon is asked how much waits for the client. That needs nothing of the
 * client's: some never answer a Ping, and none does while its program waits for the answer to a call.
 *
 * dbus-broker counts what waits against the one who does not read, and does not tell. There nobody is
 * refused.
 */

#include <stdbool.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "daemon/policy/unread.h"

typedef struct Manager Manager;

/* Embedded where the calls come in. */
typedef struct UnreadBus {
        Unread unread;
        sd_bus *bus;
        Manager *manager;
        sd_bus_slot *filter;
        sd_event_source *timer; /* asks again about those that had much the last time */
        bool disabled;          /* the bus does not tell */
} UnreadBus;

int unread_bus_init(UnreadBus *u, sd_bus *bus, Manager *manager);
void unread_bus_done(UnreadBus *u);

/* The client has left the bus. */
void unread_bus_forget(UnreadBus *u, const char *name);

/* Before a signal of not more than so many bytes to a client. Either it may be sent, and is counted; or the
 * client has too much unread, and its outbox is told when there is room. */
bool unread_bus_admit_signal(UnreadBus *u, const char *name, uint64_t size);

/* The same of one that is sent in any case. */
void unread_bus_count_signal(UnreadBus *u, const char *name, uint64_t size);

/* Before an answer of so many bytes to a client that is identified, of what it has. Returns a negative errno
 * and sets the error if it is too much for now. */
int unread_bus_admit(UnreadBus *u, sd_bus_message *call, uid_t uid, uint64_t size, Error *error);
