/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Delivery "signal": an AcceptSocket for each connection. */

#include <stdbool.h>

typedef struct Delivery Delivery;
typedef struct DeliveryEvents DeliveryEvents;

/* path and binary_type are borrowed for the delivery's life. 'acknowledge': the client calls Acknowledge,
 * instead of the barrier. */
int delivery_signal_new(const char *path,
                        const char *binary_type,
                        bool acknowledge,
                        const DeliveryEvents *events,
                        void *userdata,
                        Delivery **ret);
