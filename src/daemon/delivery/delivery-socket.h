/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "socket": the listening socket itself. The service does not accept. */

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_socket_new(const DeliveryParameters *parameters, Delivery **ret);
