/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A SoupServer that greets each peer: soup-server [PORT]
 *
 *     cc -o soup-server soup-server.c $(pkg-config --cflags --libs libsoup-3.0)
 */

#include <libsoup/soup.h>
#include <stdlib.h>

static void on_request(SoupServer *server,
                       SoupServerMessage *message,
                       const char *path,
                       GHashTable *query,
                       void *data) {
        soup_server_message_set_status(message, SOUP_STATUS_OK, NULL);
        soup_server_message_set_response(message, "text/plain", SOUP_MEMORY_STATIC, "Hello\n", 6);
}

int main(int argc, char **argv) {
        guint16 port = (guint16) atoi(argc > 1 ? argv[1] : "8080");
        g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
        g_autoptr(SoupServer) server = soup_server_new(NULL, NULL);
        g_autoptr(GError) error = NULL;

        if (!soup_server_listen_all(server, port, 0, &error)) {
                g_printerr("%s\n", error->message);
                return EXIT_FAILURE;
        }

        soup_server_add_handler(server, NULL, on_request, NULL, NULL);
        g_print("Listening on port %u\n", port);
        g_main_loop_run(loop);
        return EXIT_SUCCESS;
}
