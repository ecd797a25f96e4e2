/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Saves the connections and the channel of a listener for the next process, and restores them there. */

#include <stdbool.h>

typedef struct Address Address;
typedef struct Listener Listener;
typedef struct StoreFound StoreFound;
typedef struct SpoolEntry SpoolEntry;

/* Call it before the first accept(). */
void listener_prepare_to_save(Listener *l);

/* Saves a connection. Only a crash between accept() and this call loses it. The entry is NULL if the delivery
 * is direct.
 */
int listener_save_connection(Listener *l, int fd, const Address *peer, SpoolEntry **ret);

/* Saves the connections of a direct delivery that could not be sent. Those that are being collected for a
 * packet are not saved, as that would take as many system calls as sending each by itself: a crash in that
 * moment loses them. */
int listener_save_unsent(Listener *l);

/* Saves a new channel. */
void listener_save_channel(Listener *l);

/* Whether the next process can restore the listener. */
bool listener_is_saved(const Listener *l);

/* Restores a connection and takes over 'found', on success. Call it in the order of serials. */
int listener_restore_connection(Listener *l, StoreFound *found);

/* Call it when all connections have been restored, to compute the number of confirmed ones. */
void listener_restore_counters(Listener *l);
