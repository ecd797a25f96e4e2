/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "pull": answers to Accept, with many connections each. */

typedef struct DeliveryOps DeliveryOps;

extern const DeliveryOps delivery_pull_ops;
