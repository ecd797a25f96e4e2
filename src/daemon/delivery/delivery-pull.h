/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "pull": answers to Accept, with many connections each. */

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

/* Calls of Accept that may wait for one listener. */
#define DELIVERY_PULL_CALLS_MAX 64U

int delivery_pull_new(const DeliveryParameters *parameters, Delivery **ret);
