/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "bus/call.h"
#include "bus/counted.h"

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Counted *calls = userdata;

        calls->n_answered++;
        if (sd_bus_message_is_method_error(m, SD_BUS_ERROR_LIMITS_EXCEEDED)) {
                calls->n_refused++;
                if (calls->client && calls->refused == 0 &&
                    !streq(sd_bus_message_get_sender(m), "org.freedesktop.DBus"))
                        calls->refused = test_client_next_order(calls->client);
        } else if (sd_bus_message_get_error(m))
                calls->n_failed++;
        return 1;
}

void counted_start(Counted *calls, TestClient *client, sd_bus_message *m) {
        g_assert_cmpint(sd_bus_call_async(test_client_bus(client), NULL, m, on_answer, calls, UINT64_MAX), >=,
                        0);
        sd_bus_message_unref(m);
        calls->n_sent++;
}

sd_bus_message *counted_make_list(TestClient *client) {
        return test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "ListListeners");
}

sd_bus_message *counted_make_introspect(TestClient *client) {
        return test_message_new(client, TEST_MANAGER_PATH, "org.freedesktop.DBus.Introspectable",
                                "Introspect");
}
