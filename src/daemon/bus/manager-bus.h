/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The manager object on the bus: org.example.TCPServerSocket. */

#include <systemd/sd-bus.h>

typedef struct Manager Manager;

/* Adds the object. The manager's userdata is the CallQueue that its calls go into. */
int manager_bus_add(sd_bus *bus, Manager *manager, sd_bus_slot **ret);

/* Announces changed settings to all clients. */
void manager_bus_emit_settings(sd_bus *bus);
