/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "channel": a socket pair between service and client, with packets of connections: see
 * base/channel.h. */

#include <stdbool.h>

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;
typedef struct StateSlot StateSlot;
typedef struct Store Store;
typedef struct StoreFound StoreFound;

int delivery_channel_new(const DeliveryParameters *parameters, Delivery **ret);

/* OpenChannel. Returns the client's end, which the caller closes, or -EALREADY, or -EOPNOTSUPP. */
int delivery_channel_open(Delivery *d);

/* Puts the channel into the store, for the next process. */
int delivery_channel_save(Delivery *d, Store *store, StateSlot *slot);

/* Whether there is a channel that is not in the store. */
bool delivery_channel_is_unsaved(Delivery *d);

/* Counts what the client has read until now. */
void delivery_channel_count(Delivery *d);

/* Takes over the channel of an earlier process, on success. Returns -EINVAL for another kind of delivery. */
int delivery_channel_restore(Delivery *d, StoreFound *found, StateSlot *slot);
