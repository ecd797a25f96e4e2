/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "pull": replies to Accept, with several connections each. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;
typedef struct Outbox Outbox;
typedef struct sd_bus_message sd_bus_message;

/* Calls of Accept that may wait for one listener. */
#define DELIVERY_PULL_CALLS_MAX 64U

int delivery_pull_new(const DeliveryParameters *parameters, Delivery **ret);

/* Accept. Replies when there are connections, or after the timeout. Returns -EDQUOT if too many calls wait,
 * or -EOPNOTSUPP. */
int delivery_pull_accept(Delivery *d,
                         Outbox *caller,
                         sd_bus_message *call,
                         uint32_t maximum,
                         uint32_t timeout_ms);

/* Whether the owner gets the signal Pending if a connection waits: no call of Accept waits for it, and the
 * signal was not sent since the last one. False for another kind of delivery. */
bool delivery_pull_wants_pending(Delivery *d);

/* Whether a call of Accept waits. */
bool delivery_pull_is_called(Delivery *d);

/* Sends the signal Pending. Only if delivery_pull_wants_pending(). */
void delivery_pull_send_pending(Delivery *d);

/* Replies to all waiting calls, without connections. The callers repeat their calls, which reach the next
 * process. */
void delivery_pull_end_calls(Delivery *d);
