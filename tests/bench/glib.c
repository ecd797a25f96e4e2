/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A program with the client library, which serves as bench-server does:
 *
 * - bench-glib glib-socket: the library accepts
 * - bench-glib glib-call: the service accepts, as an option asks for it
 */

#include <stdlib.h>
#include <string.h>

#include "glib/tss.h"

static void on_incoming(TssListener *listener, GSocketConnection *connection, gpointer user_data) {
        GSocket *socket = g_socket_connection_get_socket(connection);

        /* The peer may have closed the connection. */
        (void) g_socket_send(socket, "x", 1, NULL, NULL);
        (void) g_socket_close(socket, NULL);
}

int main(int argc, char *argv[]) {
        g_autoptr(TssOptions) options = g_object_new(TSS_TYPE_OPTIONS, "local-address", "127.0.0.1", NULL);
        static const char *const all[] = { "127.0.0.0/8", NULL };
        g_autoptr(TssListener) listener = NULL;
        g_autoptr(GError) error = NULL;

        if (argc > 1 && strcmp(argv[1], "glib-call") == 0)
                g_object_set(options, "allow-from", all, NULL);
        listener = tss_listen_sync(options, 0, TSS_LISTEN_FLAGS_SERVICE_ONLY, NULL, &error);
        if (!listener) {
                g_print("%s\n", error->message);
                return EXIT_FAILURE;
        }

        (void) g_signal_connect(listener, "incoming", G_CALLBACK(on_incoming), NULL);
        g_print("%u\nready\n", tss_listener_get_port(listener));
        g_main_loop_run(g_main_loop_new(NULL, FALSE));
        return 0;
}
