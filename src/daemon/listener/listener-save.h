/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What of a listener outlives the process: written down as it changes, and taken up again by the next
 * process. */

#include <stdbool.h>

typedef struct Address Address;
typedef struct Listener Listener;
typedef struct StoreFound StoreFound;
typedef struct SpoolEntry SpoolEntry;

/* Before the first connection is accepted. */
void listener_prepare_to_save(Listener *l);

/* From here on the connection outlives the process. Between accept() and this is all that a crash can cost.
 */
int listener_save_connection(Listener *l, int fd, const Address *peer, SpoolEntry **ret);

/* What should have been handed over at once waits after all. */
int listener_save_waiting(Listener *l);

/* The channel that was just opened. */
void listener_save_channel(Listener *l);

/* Whether another process can go on with it. */
bool listener_is_saved(const Listener *l);

/* A connection that it had accepted, in the order of serials; it is taken over on success. */
int listener_restore_connection(Listener *l, StoreFound *found);

/* After these: what nobody has confirmed is known, and so is the rest. */
void listener_restore_counters(Listener *l);
