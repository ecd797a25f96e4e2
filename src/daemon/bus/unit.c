/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "daemon/bus/unit.h"

#define UNIT "tcpserversocketd.service"

int unit_ask_for_job(sd_bus *bus,
                     sd_bus_slot **slot,
                     uint64_t timeout_usec,
                     sd_bus_message_handler_t handler,
                     void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                           "org.freedesktop.systemd1.Manager", "ListUnitsByNames");
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 1, UNIT);
        if (r >= 0)
                r = sd_bus_call_async(bus, slot, m, handler, userdata, timeout_usec);

        return r;
}

const char *unit_read_job(sd_bus_message *answer) {
        const char *job;

        if (sd_bus_message_is_method_error(answer, NULL) ||
            sd_bus_message_enter_container(answer, 'a', "(ssssssouso)") < 0 ||
            sd_bus_message_read(answer, "(ssssssouso)", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, &job,
                                NULL) <= 0)
                return "";

        return job;
}
