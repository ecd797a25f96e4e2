/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A GSocketService that greets each peer: gsocketservice [PORT]
 *
 *     cc -o gsocketservice gsocketservice.c $(pkg-config --cflags --libs gio-2.0)
 */

#include <gio/gio.h>
#include <stdlib.h>

static gboolean on_incoming(GSocketService *service,
                            GSocketConnection *connection,
                            GObject *source,
                            void *data) {
        (void) g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), "Hello\n", 6,
                                         NULL, NULL, NULL);
        return TRUE;
}

int main(int argc, char **argv) {
        guint16 port = (guint16) atoi(argc > 1 ? argv[1] : "8080");
        g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
        g_autoptr(GSocketService) service = g_socket_service_new();
        g_autoptr(GError) error = NULL;

        if (!g_socket_listener_add_inet_port(G_SOCKET_LISTENER(service), port, NULL, &error)) {
                g_printerr("%s\n", error->message);
                return EXIT_FAILURE;
        }

        g_signal_connect(service, "incoming", G_CALLBACK(on_incoming), NULL);
        g_print("Listening on port %u\n", port);
        g_main_loop_run(loop);
        return EXIT_SUCCESS;
}
