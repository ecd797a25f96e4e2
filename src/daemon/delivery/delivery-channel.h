/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "channel": a socket pair of their own, past the bus: one packet for each connection. */

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_channel_new(const DeliveryParameters *parameters, Delivery **ret);
