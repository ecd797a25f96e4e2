/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The ways to deliver connections, as the option delivery of Listen names them, and which other options each
 * allows. */

#include <stdbool.h>

typedef enum DeliveryKind {
        DELIVERY_SIGNAL,
        DELIVERY_PULL,
        DELIVERY_CHANNEL,
        DELIVERY_SOCKET,
        _DELIVERY_KIND_MAX,
} DeliveryKind;

/* Returns a negative errno if there is none of that name. */
int delivery_kind_from_string(const char *s);
const char *delivery_kind_to_string(DeliveryKind kind);

/* Whether the service accepts the connections. Otherwise it cannot keep what other options say of that. */
bool delivery_kind_accepts(DeliveryKind kind);

/* Whether it allows the option acknowledge. */
bool delivery_kind_can_acknowledge(DeliveryKind kind);
