/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "socket": the listening socket itself. The service does not accept. */

typedef struct DeliveryOps DeliveryOps;

extern const DeliveryOps delivery_socket_ops;
