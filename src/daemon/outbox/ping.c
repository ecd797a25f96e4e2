/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/random.h>
#include <systemd/sd-bus.h>

#include "base/macros.h"
#include "daemon/outbox/ping.h"

/* The cookie from which sd-bus starts again after an overflow. */
#define SECRET_COOKIES_END (UINT32_C(1) << 31)

int ping_new(sd_bus *bus, const char *destination, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(bus, ret, destination, "/", "org.freedesktop.DBus.Peer",
                                              "Ping");
}

int ping_seal_with_secret_cookie(sd_bus_message *ping) {
        uint32_t cookie;

        if (getrandom(&cookie, sizeof(cookie), 0) != sizeof(cookie))
                return -EIO;

        /* In the second quarter: the first cookies of sd-bus are in the first, and may belong to open calls.
         */
        return sd_bus_message_seal(ping, (cookie & (SECRET_COOKIES_END - 1)) | SECRET_COOKIES_END / 2,
                                   UINT64_MAX);
}

int ping_seal_above_secret_cookies(sd_bus_message *m) {
        return sd_bus_message_seal(m, SECRET_COOKIES_END, UINT64_MAX);
}

bool ping_is_answered_by(sd_bus_message *answer, const char *client) {
        const char *sender = sd_bus_message_get_sender(answer);

        return sender && streq(sender, client);
}
