/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/window.h"

#include "base/macros.h"
#include "bus/call.h"
#include "bus/loop.h"
#include "bus/net.h"

unsigned test_get_window(TestClient *client) {
        g_autoptr(sd_bus_message)
                        reply = test_call(client, TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties", "Get",
                                          "ss", TEST_MANAGER_INTERFACE, "MaxUnacknowledgedPerClient");
        uint32_t window;

        g_assert_cmpint(sd_bus_message_read(reply, "v", "u", &window), >, 0);
        return window;
}

void test_open_window(TestClient *client) {
        /* 1 + 2 + 4 + … */
        unsigned n = 2 * test_get_window(client) - 1;
        g_autofree char *listener = test_listen(client, 0, -1, "paused", "b", true, NULL);
        uint16_t port = test_get_port(client, listener);
        g_autofree int *peers = g_new(int, n);

        /* All are there when it starts, so that each window is a full one. */
        for (unsigned i = 0; i < n; i++)
                peers[i] = test_connect("::1", port);
        test_listener_call(client, listener, "Resume");
        for (unsigned i = 0; i < n; i++) {
                test_accepted_free(test_client_wait_accepted(client));
                close_fd(peers[i]);
        }
        test_wait_for(test_get_u64(client, listener, "Delivered") == n);
        test_listener_call(client, listener, "Close");
        test_notice_free(test_client_wait_closed(client));
}
