/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-signal serve-signal.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

/* GDBus passes the descriptors of signals to filters only, which run in a thread of GDBus. */
static GDBusMessage *on_message(GDBusConnection *bus, GDBusMessage *message, gboolean incoming, void *data) {
        if (incoming && g_strcmp0(g_dbus_message_get_interface(message), NAME) == 0 &&
            g_strcmp0(g_dbus_message_get_member(message), "AcceptSocket") == 0) {
                g_autofree int *fds = g_unix_fd_list_steal_fds(g_dbus_message_get_unix_fd_list(message), NULL);
                g_autoptr(GSocket) connection = g_socket_new_from_fd(fds[0], NULL);
                g_socket_send(connection, "!", 1, NULL, NULL);
        }
        return message;
}

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        g_dbus_connection_add_filter(bus, on_message, NULL, NULL);
        g_autoptr(GDBusProxy) manager = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, OBJECT, NAME, NULL, NULL);
        GVariant *arguments = g_variant_new_parsed("(0, @a{sv} {}, -1)");
        g_autoptr(GVariant) reply = g_dbus_proxy_call_sync(manager, "Listen", arguments, 0, -1, NULL, &error);
        if (!reply)
                g_error("Failed to listen: %s", error->message);
        const char *path;
        g_variant_get(reply, "(&o)", &path);
        g_autoptr(GDBusProxy) listener = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, path, NAME ".Listener", NULL, NULL);
        g_print("%u\n", g_variant_get_uint16(g_dbus_proxy_get_cached_property(listener, "LocalPort")));
        g_main_loop_run(g_main_loop_new(NULL, FALSE));
}
