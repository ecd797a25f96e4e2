/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How a connection is written into a message: "hsqa{sv}". */

typedef struct DeliveryParameters DeliveryParameters;
typedef struct Handoff Handoff;
typedef struct sd_bus_message sd_bus_message;

/* 'receipt' is a descriptor that goes along in the details, or negative; see outbox.h. */
int delivery_message_append(sd_bus_message *m,
                            const Handoff *handoff,
                            const DeliveryParameters *parameters,
                            int receipt);
