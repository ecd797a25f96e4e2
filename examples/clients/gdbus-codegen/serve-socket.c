/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gdbus-codegen --interface-prefix=org.example. --generate-c-code=tcp-server-socket \
 *         /usr/share/dbus-1/interfaces/org.example.TCPServerSocket.xml &&
 * cc -o serve-socket serve-socket.c tcp-server-socket.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include "tcp-server-socket.h"

#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static gboolean on_incoming(GSocketService *service, GSocketConnection *connection, GObject *source, void *data) {
        g_output_stream_write(g_io_stream_get_output_stream(G_IO_STREAM(connection)), "!", 1, NULL, NULL);
        return FALSE;
}

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        TCPServerSocket *manager = tcpserver_socket_proxy_new_sync(bus, 0, NAME, OBJECT, NULL, NULL);
        GVariant *options = g_variant_new_parsed("{'delivery': <'socket'>}");
        if (!tcpserver_socket_call_listen_sync(manager, 0, options, -1, &path, NULL, &error))
                g_error("Failed to listen: %s", error->message);
        TCPServerSocketListener *listener = tcpserver_socket_listener_proxy_new_sync(bus, 0, NAME, path, NULL, NULL);
        g_print("%u\n", tcpserver_socket_listener_get_local_port(listener));
        g_autoptr(GUnixFDList) list = NULL;
        if (!tcpserver_socket_listener_call_take_socket_sync(listener, NULL, NULL, &list, NULL, &error))
                g_error("Failed to take the socket: %s", error->message);
        g_autoptr(GSocket) socket = g_socket_new_from_fd(g_unix_fd_list_get(list, 0, NULL), NULL);
        GSocketService *service = g_socket_service_new();
        g_signal_connect(service, "incoming", G_CALLBACK(on_incoming), NULL);
        g_socket_listener_add_socket(G_SOCKET_LISTENER(service), socket, NULL, NULL);
        g_main_loop_run(g_main_loop_new(NULL, FALSE));
}
