/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "signal": an AcceptSocket for each connection, which a barrier or the client itself confirms. */

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_signal_new(const DeliveryParameters *parameters, Delivery **ret);
