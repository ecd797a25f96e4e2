/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "daemon/outbox/bus-driver.h"

#define DRIVER "org.freedesktop.DBus"

bool bus_driver_is_sender(sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);

        return sender && streq(sender, DRIVER);
}

int bus_driver_call(sd_bus *bus,
                    sd_bus_slot **ret,
                    const char *interface,
                    const char *member,
                    const char *name,
                    sd_bus_message_handler_t handler,
                    void *userdata) {
        return sd_bus_call_method_async(bus, ret, DRIVER, "/org/freedesktop/DBus", interface, member, handler,
                                        userdata, name ? "s" : NULL, name);
}
