/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/ping.h"
#include "daemon/outbox/probe.h"

static void probe_refuse(Probe *probe, const sd_bus_error *error) {
        log_debug("The bus refused a descriptor for %s: %s", probe->destination, error->message);

        probe->answer = sd_bus_slot_unref(probe->answer);

        /* dbus-daemon and dbus-broker use different errors. */
        if (streq(error->name, SD_BUS_ERROR_NOT_SUPPORTED) || streq(error->name, SD_BUS_ERROR_FAILED))
                probe->state = PROBE_REFUSED;
        else
                probe->state = PROBE_NEW;
        probe->events->refused(probe->userdata);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        Probe *probe = userdata;

        probe->call = sd_bus_slot_unref(probe->call);

        if (error && !ping_is_answered_by(m, probe->destination) && probe->state == PROBE_SENT)
                probe_refuse(probe, error);

        return 0;
}

int probe_send(Probe *probe, sd_bus *bus, int receipt, bool tells_refusals) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        probe->call = sd_bus_slot_unref(probe->call);

        r = ping_new(bus, probe->destination, &m);
        if (r < 0)
                return r;

        r = sd_bus_message_append_basic(m, 'h', &receipt);
        if (r < 0)
                return r;

        if (!tells_refusals)
                return sd_bus_call_async(bus, &probe->call, m, on_answer, probe, UINT64_MAX);

        r = sd_bus_message_set_expect_reply(m, false);
        if (r < 0)
                return r;

        return sd_bus_send(bus, m, &probe->cookie);
}

static int on_passed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Probe *probe = userdata;

        probe->answer = sd_bus_slot_unref(probe->answer);

        if (probe->state == PROBE_SENT) {
                probe->state = PROBE_PASSED;
                probe->events->passed(probe->userdata);
        }

        return 0;
}

int probe_wait(Probe *probe, sd_bus *bus) {
        int r;

        r = bus_driver_call(bus, &probe->answer, "org.freedesktop.DBus", "GetId", NULL, on_passed, probe);
        if (r < 0)
                return r;

        probe->state = PROBE_SENT;
        return 0;
}

bool probe_handle_refusal(Probe *probe, uint64_t cookie, const sd_bus_error *error) {
        if (probe->state != PROBE_SENT || probe->cookie != cookie)
                return false;

        probe_refuse(probe, error);
        return true;
}

void probe_done(Probe *probe) {
        probe->call = sd_bus_slot_unref(probe->call);
        probe->answer = sd_bus_slot_unref(probe->answer);
}
