/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-socket serve-socket.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static gboolean on_incoming(GSocketService *service, GSocketConnection *connection, GObject *source, void *data) {
        g_output_stream_write(g_io_stream_get_output_stream(G_IO_STREAM(connection)), "!", 1, NULL, NULL);
        return FALSE;
}

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        g_autoptr(GDBusProxy) manager = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, OBJECT, NAME, NULL, NULL);
        GVariant *arguments = g_variant_new_parsed("(0, {'delivery': <'socket'>}, -1)");
        g_autoptr(GVariant) reply = g_dbus_proxy_call_sync(manager, "Listen", arguments, 0, -1, NULL, &error);
        if (!reply)
                g_error("Failed to listen: %s", error->message);
        const char *path;
        g_variant_get(reply, "(&o)", &path);
        g_autoptr(GDBusProxy) listener = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, path, NAME ".Listener", NULL, NULL);
        g_print("%u\n", g_variant_get_uint16(g_dbus_proxy_get_cached_property(listener, "LocalPort")));
        g_autoptr(GUnixFDList) list = NULL;
        g_autoptr(GVariant) taken = g_dbus_proxy_call_with_unix_fd_list_sync(listener, "TakeSocket", NULL, 0, -1, NULL,
                                                                             &list, NULL, NULL);
        g_autoptr(GSocket) socket = g_socket_new_from_fd(g_unix_fd_list_get(list, 0, NULL), NULL);
        GSocketService *service = g_socket_service_new();
        g_signal_connect(service, "incoming", G_CALLBACK(on_incoming), NULL);
        g_socket_listener_add_socket(G_SOCKET_LISTENER(service), socket, NULL, NULL);
        g_main_loop_run(g_main_loop_new(NULL, FALSE));
}
