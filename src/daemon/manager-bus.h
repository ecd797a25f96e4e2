/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service on the bus: its name, the manager object, and who leaves. */

#include <stdint.h>

typedef struct ManagerBus ManagerBus;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

/* Puts the service on a bus that is attached to the event loop, and asks for the name. The loop ends with an
 * error if the name is not to be had. */
int manager_bus_new(sd_event *event, sd_bus *bus, ManagerBus **ret);

/* Closes all listeners, with reason "shutdown", and answers nobody any more. Returns when the last words are
 * on the bus, or after timeout_usec. */
void manager_bus_shut_down(ManagerBus *b, uint64_t timeout_usec);

ManagerBus *manager_bus_free(ManagerBus *b);
