/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/random.h>
#include <systemd/sd-bus.h>

#include "base/macros.h"
#include "daemon/delivery-ping.h"

int ping_new(sd_bus *bus, const char *destination, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(bus, ret, destination, "/", "org.freedesktop.DBus.Peer",
                                              "Ping");
}

int ping_seal_with_secret_cookie(sd_bus_message *ping) {
        uint32_t cookie;

        if (getrandom(&cookie, sizeof(cookie), 0) != sizeof(cookie))
                return -EIO;

        /* The upper half, where sd-bus's own never come, or not for very long. */
        return sd_bus_message_seal(ping, cookie | UINT32_C(1) << 31, UINT64_MAX);
}

bool ping_is_answered_by(sd_bus_message *answer, const char *client) {
        const char *sender = sd_bus_message_get_sender(answer);

        return sender && streq(sender, client);
}
