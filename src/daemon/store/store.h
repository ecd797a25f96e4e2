/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The state that outlives the process: listeners, channels, lifelines, and connections that are not confirmed
 * as delivered.
 *
 * The unit's fd store has only a memfd with a table and the queues of two spools. Everything else is in
 * these, so that systemd is sent no message for a listener or a connection. Without systemd there is no
 * store.
 *
 * A listener is in a spool from before Listen is answered until it is closed. A connection is in a spool from
 * right after accept() until its delivery is confirmed; after a crash the next process delivers it again.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"
#include "daemon/store/state.h"

typedef struct ListenOptions ListenOptions;
typedef struct Store Store;
typedef struct StoreFound StoreFound;
typedef struct SpoolEntry SpoolEntry;
typedef struct sd_event sd_event;

/* Opens the state of the last process, or a new one. Returns -ENOTSUP without a service manager. */
int store_new(sd_event *event, Store **ret);

/* The saved state stays in the fd store. */
Store *store_free(Store *s);

/* Prepares for the next process: from now on, nothing is removed from the store. */
void store_seal(Store *s);

/* The id of the bus to which the saved names of owners belong, or "". */
const char *store_get_bus(const Store *s);
void store_set_bus(Store *s, const char *id);

/* The id of the newest listener. */
uint64_t store_get_last_id(const Store *s);
void store_set_last_id(Store *s, uint64_t id);

/* Saves a new listener. Its slot has the id and STATE_UNANNOUNCED, and is 0 otherwise. */
int store_save_listener(Store *s,
                        uint64_t id,
                        uid_t uid,
                        uint32_t pid,
                        int fd,
                        const ListenOptions *options,
                        StateSlot **ret_slot,
                        SpoolEntry **ret);
void store_drop_listener(Store *s, StateSlot *slot, SpoolEntry *entry);

int store_save_channel(Store *s, const StateSlot *slot, int fd, SpoolEntry **ret);

int store_save_lifeline(Store *s, const StateSlot *slot, int fd, SpoolEntry **ret);

/* Creates the queue for the connections of a listener before the first accept(), so that saving a connection
 * is a single system call. */
void store_prepare_connections(Store *s, const StateSlot *slot);

int store_save_connection(Store *s,
                          const StateSlot *slot,
                          uint64_t serial,
                          int fd,
                          const Address *peer,
                          SpoolEntry **ret);

/* Connections that are dropped between these two are removed together at the end, which is cheaper. The store
 * may be NULL. */
void store_hold(Store *s);
void store_release(Store *s);

/* Reads the state of the last process (daemon/store/store-found.h). To be called once. */
int store_read(Store *s, StoreFound **ret, size_t *ret_n);
