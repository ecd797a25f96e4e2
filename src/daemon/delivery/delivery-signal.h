/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "signal": an AcceptSocket for each connection, which a barrier or the client itself confirms. */

typedef struct DeliveryOps DeliveryOps;

extern const DeliveryOps delivery_signal_ops;
