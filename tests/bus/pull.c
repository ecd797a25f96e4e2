/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/pull.h"

#include "base/macros.h"

TestCall *test_accept_start(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms) {
        sd_bus_message *message = test_message_new(client, listener, TEST_LISTENER_INTERFACE, "Accept");

        g_assert_cmpint(sd_bus_message_append(message, "uu", maximum, timeout_ms), >=, 0);
        return test_call_start(client, message);
}

GPtrArray *test_accept_finish(TestCall *call) {
        GPtrArray *batch = g_ptr_array_new_with_free_func((GDestroyNotify) test_accepted_free);
        sd_bus_message *reply = test_call_wait(call);

        if (test_call_error(call))
                g_error("Accept failed: %s: %s", test_call_error(call), test_call_error_message(call));
        g_assert_cmpstr(sd_bus_message_get_signature(reply, true), ==, "a(hsqa{sv})");
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"), >=, 0);
        while (sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") > 0) {
                g_ptr_array_add(batch, test_accepted_read(reply));
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        }
        test_call_free(call);
        return batch;
}

GPtrArray *test_accept(TestClient *client, const char *listener, uint32_t maximum, uint32_t timeout_ms) {
        return test_accept_finish(test_accept_start(client, listener, maximum, timeout_ms));
}
