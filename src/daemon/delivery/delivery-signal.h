/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "signal": a signal AcceptSocket for each connection. A barrier confirms it, or, with the option
 * acknowledge, the client. */

#include <stdint.h>

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_signal_new(const DeliveryParameters *parameters, Delivery **ret);

/* Acknowledge: the client has all connections up to this serial. Returns -ERANGE if no connection with that
 * serial was sent, or -EOPNOTSUPP without the option acknowledge. */
int delivery_signal_acknowledge(Delivery *d, uint64_t serial);
