/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Creates the delivery that the options of a listener name. */

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_new(const DeliveryParameters *parameters, Delivery **ret);
