/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is done with a listener: it is created or restored, gets its owner, and does what its owner calls. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/listener/listener.h"

typedef struct Outbox Outbox;
typedef struct StoreFound StoreFound;
typedef struct sd_bus_message sd_bus_message;

/* Binds and listens, accepts nothing before listener_set_owner(). Takes the options over on success. Returns
 * what socket_listen() does. The store may be NULL. */
int listener_new(sd_event *event,
                 uint64_t id,
                 uid_t uid,
                 ListenOptions *options,
                 Store *store,
                 const ListenerEvents *events,
                 void *userdata,
                 Listener **ret);

/* Goes on with one of before, of which it takes everything over on success. */
int listener_restore(sd_event *event,
                     StoreFound *found,
                     Store *store,
                     const ListenerEvents *events,
                     void *userdata,
                     Listener **ret);

/* The process is about to end, and the listener goes on without it: from now on nothing is accepted or handed
 * over, and calls that wait are answered. May be called again. */
void listener_freeze(Listener *l);

/* Who gets its connections; NULL: nobody for the time being. May close the listener, as all that follow may.
 */
void listener_set_owner(Listener *l, Outbox *outbox);

/* Its owner has left for good: what was on the way is counted and told as lost, and the listener closed. */
void listener_end_with_owner(Listener *l);

/* listener_resume() only saves the new state. The caller is answered next, and listener_serve() accepts
 * after that, so that the answer is true also for the next process. */
void listener_pause(Listener *l);
void listener_resume(Listener *l);

/* Returns what delivery_channel_open() does, and saves the channel. */
int listener_open_channel(Listener *l);
