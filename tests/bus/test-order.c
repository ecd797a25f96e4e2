/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each connection arrives once, in order, and after its client knows of the listener. */

#include <poll.h>

#include "base/macros.h"
#include "bus/accept-watch.h"

/* In a network of the test's own. */
#define PORT 80

typedef struct Watched {
        Fixture fixture;
        AcceptWatch watch;
        uint16_t port; /* where a peer connects as soon as the service looks, or 0 */
        int peer;
} Watched;

static int connect_first(AcceptWatch *watch) {
        Watched *w = CONTAINER_OF(watch, Watched, watch);

        if (w->port != 0 && w->peer < 0) {
                w->peer = test_connect_start(NULL, "127.0.0.1", w->port);
                g_assert_no_errno(w->peer);
        }
        return 0;
}

static void set_up_watched(Watched *w, const void *data) {
        w->peer = -EBADF;
        w->watch.choose = connect_first;
        accept_watch_set_up(&w->watch, &w->fixture);
}

static void tear_down_watched(Watched *w, const void *data) {
        accept_watch_tear_down(&w->watch, &w->fixture);
}

/* The peer is there whenever the service looks for the first time, be that ever so early. */
TEST_OF("nothing about a listener is sent before the reply of Listen",
        Watched,
        w,
        set_up_watched,
        tear_down_watched,
        NULL) {
        TestClient *client = w->fixture.client;

        if (!test_require_private_network() || !accept_watch_require(&w->watch))
                return;

        w->port = PORT;
        for (unsigned i = 0; i < 3; i++) {
                sd_bus_message *message = test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                           "Listen");
                g_autoptr(TestCall) call = NULL;
                g_autoptr(TestAccepted) accepted = NULL;
                const char *listener;

                g_assert_cmpint(sd_bus_message_append(message, "ia{sv}i", PORT, 0, -1), >=, 0);
                call = test_call_start(client, message);
                g_assert_null(test_call_error(call));
                g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &listener), >=, 0);

                /* If it has not looked yet, and does so only when somebody knocks. */
                if (w->peer < 0)
                        w->peer = test_connect_start(NULL, "127.0.0.1", PORT);
                accepted = test_client_wait_accepted(client);
                g_assert_cmpstr(accepted->listener, ==, listener);
                g_assert_cmpuint(accepted->order, >, test_call_order(call));
                test_assert_connected(w->peer, accepted->socket);
                w->peer = close_fd(w->peer);
                w->port = 0;
                test_listener_call(client, listener, "Close");
                w->port = PORT;
        }
}

TEST("each of a crowd arrives once") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(GHashTable) peers = g_hash_table_new(NULL, NULL);
        uint16_t port = test_get_port(f->client, listener);
        int fds[200];

        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                fds[i] = test_connect_start(NULL, i % 2 == 0 ? "127.0.0.1" : "::1", port);
                g_assert_no_errno(fds[i]);
        }
        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                g_autofree char *own = g_strdup_printf("%5zu", i);

                (void) test_wait_fd(fds[i], POLLOUT);
                test_send(fds[i], own, strlen(own));
        }

        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                char own[6] = "";
                size_t index;

                g_assert_cmpuint(accepted->serial, ==, i + 1);
                test_receive(accepted->socket, own, 5);
                index = strtoul(own, NULL, 10);
                g_assert_cmpuint(index, <, ELEMENTS(fds));
                g_assert_cmpuint(accepted->remote_port, ==, test_local_port(fds[index]));
                g_assert_true(g_hash_table_add(peers, GSIZE_TO_POINTER(index)));
        }

        test_wait_for(test_get_u64(f->client, listener, "Delivered") == ELEMENTS(fds));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, ELEMENTS(fds));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, ELEMENTS(fds));
        for (size_t i = 0; i < ELEMENTS(fds); i++)
                close_fd(fds[i]);
}
