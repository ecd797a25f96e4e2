/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/bus/resources.h"

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "base/descriptors.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/policy/credit.h"
#include "daemon/policy/settings.h"

#define UNIT_PATH "/org/freedesktop/systemd1/unit/tcpserversocketd_2eservice"

/* A table, and two times up to 256 socket pairs. */
#define FD_STORE_NEEDED (1 + 2 * 2 * 256)

/* See MaxListeners= in tcpserversocketd.conf(5). */
#define DESCRIPTORS_PER_LISTENER 8

static int on_fd_store_max(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        uint32_t max;

        if (sd_bus_message_is_method_error(answer, NULL) || sd_bus_message_read(answer, "v", "u", &max) < 0)
                return 0;

        if (max == 0)
                log_warning("The unit has FileDescriptorStoreMax=0: each restart of the service, also after a crash, "
                            "closes all listeners and their connections");
        else if (max < FD_STORE_NEEDED)
                log_warning("The unit has FileDescriptorStoreMax=%u: a restart of the service can close listeners; "
                            "%u suffices",
                            max, FD_STORE_NEEDED);
        return 0;
}

static void check_fd_store(sd_bus *bus) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.systemd1", UNIT_PATH,
                                           "org.freedesktop.DBus.Properties", "Get");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", "org.freedesktop.systemd1.Service",
                                          "FileDescriptorStoreMax");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                (void) sd_bus_call_async(bus, NULL, m, on_fd_store_max, NULL, 0);
}

static void check_descriptors(const Limits *limits) {
        uint64_t needed = (uint64_t) limits->listeners * DESCRIPTORS_PER_LISTENER;
        unsigned limit;

        if (descriptors_get_limit(&limit) < 0 || limit >= needed)
                return;

        log_warning("The limit of %u descriptors is too small for MaxListeners=%u: Listen can fail, and connections "
                    "wait in the kernel, when about %u listeners are in use; LimitNOFILE=%llu suffices",
                    limit, limits->listeners, limit / DESCRIPTORS_PER_LISTENER, (unsigned long long) needed);
}

void resources_check(sd_bus *bus, const Limits *limits, bool is_unit, bool counts) {
        if (is_unit) {
                check_fd_store(bus);
                check_descriptors(limits);
        }

        if (counts && limits->unacknowledged < UNACKNOWLEDGED_DEFAULT)
                log_warning("MaxUnacknowledged=%u is small: programs of %u users that do not read stop the deliveries "
                            "to all other users; the default is %u",
                            limits->unacknowledged, budget_count_reserved(limits->unacknowledged),
                            UNACKNOWLEDGED_DEFAULT);
}
