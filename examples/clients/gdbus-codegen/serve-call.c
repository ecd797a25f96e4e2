/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* gdbus-codegen --interface-prefix=org.example. --generate-c-code=tcp-server-socket \
 *         /usr/share/dbus-1/interfaces/org.example.TCPServerSocket.xml \
 *         /usr/share/dbus-1/interfaces/org.example.TCPServerSocket.Client.xml &&
 * cc -o serve-call serve-call.c tcp-server-socket.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include "tcp-server-socket.h"

#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static gboolean on_accept_socket(TCPServerSocketClient *client, GDBusMethodInvocation *invocation, GUnixFDList *list,
                                 const char *listener, GVariant *handle, const char *address, guint16 port,
                                 GVariant *details, void *data) {
        g_autofree int *fds = g_unix_fd_list_steal_fds(list, NULL);
        g_autoptr(GSocket) connection = g_socket_new_from_fd(fds[g_variant_get_handle(handle)], NULL);
        g_socket_send(connection, "!", 1, NULL, NULL);
        tcpserver_socket_client_complete_accept_socket(client, invocation, NULL);
        return TRUE;
}

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        TCPServerSocketClient *client = tcpserver_socket_client_skeleton_new();
        g_signal_connect(client, "handle-accept-socket", G_CALLBACK(on_accept_socket), NULL);
        g_dbus_interface_skeleton_export(G_DBUS_INTERFACE_SKELETON(client), bus, OBJECT "/Client", NULL);
        TCPServerSocket *manager = tcpserver_socket_proxy_new_sync(bus, 0, NAME, OBJECT, NULL, NULL);
        GVariant *options = g_variant_new_parsed("{'delivery': <'call'>}");
        if (!tcpserver_socket_call_listen_sync(manager, 0, options, -1, &path, NULL, &error))
                g_error("Failed to listen: %s", error->message);
        TCPServerSocketListener *listener = tcpserver_socket_listener_proxy_new_sync(bus, 0, NAME, path, NULL, NULL);
        g_print("%u\n", tcpserver_socket_listener_get_local_port(listener));
        g_main_loop_run(g_main_loop_new(NULL, FALSE));
}
