/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The bus itself, org.freedesktop.DBus. It answers in the order of the calls, and knows the clients. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

/* Whether the message comes from the bus itself. Any client can send signals to the service, and sd-bus
 * creates the answers to calls when the connection is lost. */
bool bus_driver_is_sender(sd_bus_message *m);

/* Calls a method without waiting for the answer; 'name' is its argument, NULL: it has none. */
int bus_driver_call(sd_bus *bus,
                    sd_bus_slot **ret,
                    const char *interface,
                    const char *member,
                    const char *name,
                    sd_bus_message_handler_t handler,
                    void *userdata);
