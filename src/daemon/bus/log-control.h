/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* org.freedesktop.LogControl1(5): the log level and the log target, for "systemctl service-log-level". */

typedef struct CallQueue CallQueue;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_slot sd_bus_slot;

int log_control_bus_add(sd_bus *bus, CallQueue *calls, sd_bus_slot **ret_vtable, sd_bus_slot **ret_calls);
