/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The properties of a listener, for those who may see it. */

#include <systemd/sd-bus.h>

typedef struct CallQueue CallQueue;
typedef struct Listener Listener;

int listener_properties_add(sd_bus *bus, CallQueue *calls, sd_bus_object_find_t find, sd_bus_slot **ret);

/* To be given each call of a listener before sd-bus sees it, which would answer for properties at once and to
 * everybody; here the caller has to be identified first, and that takes a question to the bus. Returns 0 if
 * it is no such call. */
int listener_properties_intercept(CallQueue *calls, sd_bus_message *m);

/* What a listener takes in a list, at the most, and without its name. */
#define LISTENER_PROPERTIES_SIZE UINT64_C(576)

/* Appends all properties, "a{sv}". */
int listener_properties_append(sd_bus *bus, sd_bus_message *m, Listener *l);
