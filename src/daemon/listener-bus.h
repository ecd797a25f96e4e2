/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The listener objects on the bus: org.example.TCPServerSocket.Listener. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

typedef struct Call Call;
typedef struct CallNeed CallNeed;
typedef struct CallQueue CallQueue;
typedef struct Listener Listener;
typedef struct ListenerError ListenerError;

/* Adds the objects below LISTENER_PREFIX. */
int listener_bus_add(sd_bus *bus, CallQueue *calls, sd_bus_slot **ret_vtable, sd_bus_slot **ret_calls);

/* For calls that list listeners: everybody may know of its own, an administrator of all. Nobody is asked for a
 * password for it. */
void listener_bus_need_list(Call *call, CallNeed *need);
bool listener_bus_may_list(const Call *call, const Listener *l);

/* Appends all properties, "a{sv}". */
int listener_bus_append_properties(sd_bus *bus, sd_bus_message *m, Listener *l, sd_bus_error *error);

/* These go to the owner, if there is one, and to nobody else. */
void listener_bus_emit_error(sd_bus *bus, const Listener *l, const ListenerError *error);
void listener_bus_emit_closed(sd_bus *bus, const Listener *l, const char *reason);
