/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The methods of a listener. */

#include <systemd/sd-bus.h>

typedef struct CallQueue CallQueue;

int listener_methods_add(sd_bus *bus, CallQueue *calls, sd_bus_object_find_t find, sd_bus_slot **ret);
