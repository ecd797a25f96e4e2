/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The listener objects on the bus: org.example.TCPServerSocket.Listener. */

#include <systemd/sd-bus.h>

typedef struct CallQueue CallQueue;
typedef struct Listener Listener;
typedef struct ListenerError ListenerError;

/* The objects below LISTENER_PREFIX. Embedded. */
typedef struct ListenerBus {
        sd_bus_slot *calls; /* handles all calls first */
        sd_bus_slot *methods;
        sd_bus_slot *properties;
} ListenerBus;

int listener_bus_init(ListenerBus *objects, sd_bus *bus, CallQueue *calls);
void listener_bus_done(ListenerBus *objects);

/* Send a signal to the owner only, if there is one. Error is not sent to an owner with too many unread
 * messages. */
void listener_bus_emit_error(CallQueue *calls, const Listener *l, const ListenerError *error);
void listener_bus_emit_closed(CallQueue *calls, const Listener *l, const char *reason);
