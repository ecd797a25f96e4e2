/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "pull": answers to Accept, with many connections each. */

typedef struct DeliveryOps DeliveryOps;

/* Calls of Accept that may wait for one listener. */
#define DELIVERY_PULL_CALLS_MAX 64U

extern const DeliveryOps delivery_pull_ops;
