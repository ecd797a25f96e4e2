/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/traffic.h"

/* dbus-daemon limits the open calls of a connection to 128 on the system bus (max_replies_per_connection).
 * The questions to polkit take up to half of them. */
#define CALLS_MAX 56

/* dbus-daemon answers a refused signal with an error, like a call. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Traffic *traffic = userdata;
        const sd_bus_error *error;
        TrafficMember *member;
        uint64_t cookie;

        error = sd_bus_message_get_error(m);
        if (!error || sd_bus_message_get_reply_cookie(m, &cookie) < 0)
                return 0;

        if (!bus_driver_is_sender(m))
                return 0;

        if (cookie == traffic->test_cookie) {
                traffic->is_daemon = true;
                budget_set_unlimited(&traffic->budget, false);
                budget_set_unlimited(&traffic->calls, false);
                return 1;
        }

        TAILQ_FOREACH(member, &traffic->members, link)
                if (member->refused(member, cookie, error))
                        return 1;

        return 0;
}

/* Finds out whether the bus answers refused signals with errors, by a signal to a name without an owner. Sent
 * before all messages to clients. */
static int traffic_test_bus(Traffic *traffic) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(traffic->bus, &m, MANAGER_PATH, MANAGER_INTERFACE, "Test");
        if (r >= 0)
                r = sd_bus_message_set_destination(m, BUS_NAME ".NoSuchName");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_send(traffic->bus, m, &traffic->test_cookie);

        return r;
}

int traffic_init(Traffic *traffic,
                 sd_bus *bus,
                 Store *store,
                 Users *users,
                 uint32_t limit,
                 const TrafficEvents *events,
                 void *userdata) {
        int r;

        *traffic = (Traffic) {
                .events = events,
                .userdata = userdata,
                .bus = sd_bus_ref(bus),
                .store = store,
                .counts = true,
        };
        TAILQ_INIT(&traffic->members);
        budget_init(&traffic->budget, users, USER_RESERVED_DESCRIPTORS, USER_COMMON_DESCRIPTORS, limit);
        budget_init(&traffic->calls, users, USER_RESERVED_ANSWERS, USER_COMMON_ANSWERS, CALLS_MAX);
        budget_set_unlimited(&traffic->budget, true);
        budget_set_unlimited(&traffic->calls, true);

        r = sd_bus_add_filter(bus, &traffic->errors, on_message, traffic);
        if (r < 0)
                return r;

        return traffic_test_bus(traffic);
}

void traffic_done(Traffic *traffic) {
        if (!traffic->bus)
                return;

        budget_done(&traffic->budget);
        budget_done(&traffic->calls);
        traffic->errors = sd_bus_slot_unref(traffic->errors);
        traffic->bus = sd_bus_unref(traffic->bus);
}

/* Without statistics of dbus-broker, its answer to any call says that it has taken over the messages. */
int traffic_ask(Traffic *traffic,
                const char *client,
                bool count,
                sd_bus_slot **ret,
                sd_bus_message_handler_t handler,
                void *userdata) {
        if (traffic->counts && traffic->is_daemon)
                return bus_driver_ask_waiting(traffic->bus, ret, client, handler, userdata);
        if (traffic->counts && count)
                return bus_driver_ask_waiting_for_all(traffic->bus, ret, handler, userdata);

        return bus_driver_call(traffic->bus, ret, "org.freedesktop.DBus", "GetId", NULL, handler, userdata);
}

static int read_waiting(const Traffic *traffic,
                        const char *client,
                        bool count,
                        sd_bus_message *answer,
                        BusWaiting *ret) {
        if (traffic->counts && traffic->is_daemon)
                return bus_driver_read_waiting(answer, ret);
        if (traffic->counts && count)
                return bus_driver_read_waiting_for_all(answer, client, ret);
        if (!bus_driver_is_sender(answer) || sd_bus_message_is_method_error(answer, NULL))
                return -EIO;

        return 0;
}

int traffic_read_answer(Traffic *traffic,
                        const char *client,
                        bool count,
                        sd_bus_message *answer,
                        uint32_t *ret_waiting) {
        BusWaiting waiting = {};
        int r;

        r = read_waiting(traffic, client, count, answer, &waiting);
        if (r == -EOPNOTSUPP) {
                traffic->counts = false;
                log_warning("The bus does not report unread descriptors, a client that does not read can block others");
                return -EAGAIN;
        }
        if (r < 0)
                return r;

        *ret_waiting = waiting.descriptors;
        return 0;
}

bool traffic_is_busy(const Traffic *traffic) {
        return !TAILQ_EMPTY(&traffic->members);
}

void traffic_join(Traffic *traffic, TrafficMember *member) {
        if (member->is_listed)
                return;

        TAILQ_INSERT_TAIL(&traffic->members, member, link);
        member->is_listed = true;
}

void traffic_leave(Traffic *traffic, TrafficMember *member) {
        if (!member->is_listed)
                return;

        TAILQ_REMOVE(&traffic->members, member, link);
        member->is_listed = false;
}
