/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What outlives the process: the listeners, what is known about them, and the connections that nobody has
 * confirmed.
 *
 * systemd keeps a few descriptors in the unit's fd store: a memfd with a table, and the queues of two spools.
 * All else is in these, and is put there and taken out without a word to systemd. Without systemd there is no
 * store.
 *
 * A listener's descriptors and its description are one packet, from before its Listen is answered until it is
 * closed. A connection is put into a spool right after it was accepted, and taken out as soon as it is its
 * client's, so that between these two it is handed out again after a crash.
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

/* Takes over what there is from before. Returns -ENOTSUP if nothing can be kept. */
int store_new(sd_event *event, Store **ret);

/* What was kept stays kept. */
Store *store_free(Store *s);

/* The process ends, and another one goes on: from now on nothing is taken out any more. */
void store_seal(Store *s);

/* The bus on which the owners were seen last, or "". */
const char *store_get_bus(const Store *s);
void store_set_bus(Store *s, const char *id);

/* The last id that a listener was given. */
uint64_t store_get_last_id(const Store *s);
void store_set_last_id(Store *s, uint64_t id);

/* The slot is all 0 but for its id, and that nobody has been told. */
int store_save_listener(Store *s,
                        uint64_t id,
                        uid_t uid,
                        int fd,
                        const ListenOptions *options,
                        StateSlot **ret_slot,
                        SpoolEntry **ret);
void store_drop_listener(Store *s, StateSlot *slot, SpoolEntry *entry);

int store_save_channel(Store *s, const StateSlot *slot, int fd, unsigned packet_size, SpoolEntry **ret);

/* So that nothing but the keeping itself comes between a connection's accept() and its being kept. */
void store_prepare_connections(Store *s, const StateSlot *slot);

int store_save_connection(Store *s,
                          const StateSlot *slot,
                          uint64_t serial,
                          int fd,
                          const Address *peer,
                          SpoolEntry **ret);

/* Connections that are let go in between are so at the end, which is cheaper. The store may be NULL. */
void store_hold(Store *s);
void store_release(Store *s);

/* All that another process has left (daemon/store/store-found.h); to be called once. */
int store_read(Store *s, StoreFound **ret, size_t *ret_n);
