/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The properties of a listener, for callers with ACCESS_SEE. */

#include <systemd/sd-bus.h>

typedef struct CallQueue CallQueue;
typedef struct Listener Listener;

int listener_properties_add(sd_bus *bus, CallQueue *calls, sd_bus_object_find_t find, sd_bus_slot **ret);

/* Handles Get and GetAll of a listener before sd-bus does, which would answer any caller without identifying
 * it. Returns 0 for other calls. */
int listener_properties_intercept(CallQueue *calls, sd_bus_message *m);

/* The maximum size of one listener in a list, without its name, in bytes. */
#define LISTENER_PROPERTIES_SIZE UINT64_C(648)

/* Appends all properties, "a{sv}". */
int listener_properties_append(sd_bus *bus, sd_bus_message *m, Listener *l);
