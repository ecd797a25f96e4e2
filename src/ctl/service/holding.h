/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The listeners that the tool itself holds while it serves, and what the bus says of them meanwhile. */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"
#include "ctl/service/intake.h"

typedef struct Holding Holding;

/* One of the listeners has ended without the tool's doing, or the bus is gone; why has been said. Called
 * once. */
typedef void (*HoldingLost)(void *userdata);

/* Each that returns an int says what went wrong when it is negative. */
int holding_new(Context *c, Holding **ret);
Holding *holding_free(Holding *h);

/* Gets the port, for a program that takes the socket itself: the next of holding_get_sockets(). */
int holding_take_socket(Holding *h, const Endpoint *endpoint);
/* Gets it in the way that suits a program that takes connections. These are non-blocking if this or the
 * option says so. */
int holding_take_intake(Holding *h, const Endpoint *endpoint, bool non_blocking, Intake *ret);

/* What was got so far, in the order of the calls. */
size_t holding_get_n(const Holding *h);
const int *holding_get_sockets(const Holding *h);
/* What is really bound. */
uint16_t holding_get_port(const Holding *h, size_t i);

/* Says where it listens. */
void holding_announce(Holding *h);

int holding_watch(Holding *h, sd_event *event, HoldingLost lost, void *userdata);

/* To be told when an Intake has come to its end: the service will say why, or it is gone itself. */
void holding_intake_ended(Holding *h);

/* Frees the ports; they are free when it returns. A persistent listener stays. */
void holding_close(Holding *h);
