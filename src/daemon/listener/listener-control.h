/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Creates and restores listeners, sets their owners, and implements the methods of owners. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/listener/listener.h"

typedef struct Outbox Outbox;
typedef struct StoreFound StoreFound;
typedef struct sd_bus_message sd_bus_message;

/* Binds and listens. Accepting starts with listener_set_owner(). Takes over the options on success. Returns
 * the errors of socket_listen(). The store may be NULL. */
int listener_new(sd_event *event,
                 uint64_t id,
                 uid_t uid,
                 uint32_t pid,
                 ListenOptions *options,
                 Store *store,
                 InterfaceWatch *interfaces,
                 const ListenerEvents *events,
                 void *userdata,
                 Listener **ret);

/* Restores a listener of the last process. Takes over all of 'found' on success. Its interface may be gone,
 * see interface_gone. */
int listener_restore(sd_event *event,
                     StoreFound *found,
                     Store *store,
                     InterfaceWatch *interfaces,
                     const ListenerEvents *events,
                     void *userdata,
                     Listener **ret);

/* Prepares the listener for the next process: it stops accepting and sending, and waiting calls of Accept are
 * answered. May be called again. */
void listener_freeze(Listener *l);

/* Sets the outbox of the owner; NULL: a persistent listener waits for its next owner. May close the listener.
 */
void listener_set_owner(Listener *l, Outbox *outbox);

/* The owner has left the bus: reports unconfirmed connections as lost, and closes the listener. */
void listener_end_with_owner(Listener *l);

/* After listener_resume(), answer the caller and then call listener_serve(). The state is saved before the
 * answer, in case the process crashes in between. */
void listener_pause(Listener *l);
void listener_resume(Listener *l);

/* Returns what delivery_channel_open() does, and saves the channel. */
int listener_open_channel(Listener *l);

/* Returns what lifeline_open() does. Afterwards the descriptor is sent to the client, or the lifeline closed.
 */
int listener_open_lifeline(Listener *l);

/* The client has its end of the lifeline. */
void listener_set_lifeline_sent(Listener *l);
