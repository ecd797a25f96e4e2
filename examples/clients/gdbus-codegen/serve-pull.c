/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gdbus-codegen --interface-prefix=org.example. --generate-c-code=tcp-server-socket \
 *         /usr/share/dbus-1/interfaces/org.example.TCPServerSocket.xml &&
 * cc -o serve-pull serve-pull.c tcp-server-socket.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include "tcp-server-socket.h"

#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        TCPServerSocket *manager = tcpserver_socket_proxy_new_sync(bus, 0, NAME, OBJECT, NULL, NULL);
        GVariant *options = g_variant_new_parsed("{'delivery': <'pull'>}");
        if (!tcpserver_socket_call_listen_sync(manager, 0, options, -1, &path, NULL, &error))
                g_error("Failed to listen: %s", error->message);
        TCPServerSocketListener *listener = tcpserver_socket_listener_proxy_new_sync(bus, 0, NAME, path, NULL, NULL);
        g_print("%u\n", tcpserver_socket_listener_get_local_port(listener));
        for (;;) {
                g_autoptr(GVariant) connections = NULL;
                g_autoptr(GUnixFDList) list = NULL;
                if (!tcpserver_socket_listener_call_accept_sync(listener, 16, 20000, NULL, &connections, &list, NULL,
                                                                &error))
                        g_error("Failed to accept: %s", error->message);
                int n = 0;
                g_autofree int *fds = list ? g_unix_fd_list_steal_fds(list, &n) : NULL;
                for (int i = 0; i < n; i++) {
                        g_autoptr(GSocket) connection = g_socket_new_from_fd(fds[i], NULL);
                        g_socket_send(connection, "!", 1, NULL, NULL);
                }
        }
}
