/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "channel": a socket pair of their own, past the bus: one packet for each connection. */

typedef struct DeliveryOps DeliveryOps;

extern const DeliveryOps delivery_channel_ops;
