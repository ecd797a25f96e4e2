/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "socket": the client takes the listening socket and accepts by itself. */

#include <stdbool.h>

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_socket_new(const DeliveryParameters *parameters, Delivery **ret);

/* TakeSocket. Returns a copy of the listening socket, which the caller closes, or -EALREADY, or -EOPNOTSUPP.
 */
int delivery_socket_take(Delivery *d, int listening_fd);

bool delivery_socket_is_taken(const Delivery *d);

/* Makes all copies of the listening socket useless. Returns a negative errno if a holder may have prevented
 * that. Does nothing for another kind of delivery. */
int delivery_socket_revoke(Delivery *d, int listening_fd);
