/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The bus itself, org.freedesktop.DBus. It answers in the order of the calls, and knows the clients. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* The messages of all senders that wait in the bus for one client. */
typedef struct BusWaiting {
        uint32_t bytes;
        uint32_t descriptors;
} BusWaiting;

/* The process that connected to the bus, as the kernel reported it then. */
typedef struct BusCredentials {
        uint32_t uid;
        uint32_t pid; /* 0: the bus does not know it */
} BusCredentials;

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

/* Asks for the credentials of a client. */
int bus_driver_ask_credentials(sd_bus *bus,
                               sd_bus_slot **ret,
                               const char *client,
                               sd_bus_message_handler_t handler,
                               void *userdata);

/* Reads the answer. Returns a negative errno without a uid. */
int bus_driver_read_credentials(sd_bus_message *answer, BusCredentials *ret);

/* Asks dbus-daemon how much waits for a client. It counts each message until it has been written to the
 * socket of the client. It handles messages in order: all that was sent before is counted. */
int bus_driver_ask_waiting(sd_bus *bus,
                           sd_bus_slot **ret,
                           const char *client,
                           sd_bus_message_handler_t handler,
                           void *userdata);

/* Asks dbus-broker the same, which has one method for all its clients. It counts each message until the
 * client has read it. */
int bus_driver_ask_waiting_for_all(sd_bus *bus,
                                   sd_bus_slot **ret,
                                   sd_bus_message_handler_t handler,
                                   void *userdata);

/* Reads the answer of either. Returns -EOPNOTSUPP if the bus never reports it, and another negative errno if
 * it does not this time. */
int bus_driver_read_waiting(sd_bus_message *answer, BusWaiting *ret);
int bus_driver_read_waiting_for_all(sd_bus_message *answer, const char *client, BusWaiting *ret);
