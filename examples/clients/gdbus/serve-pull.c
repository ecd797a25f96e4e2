/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-pull serve-pull.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        g_autoptr(GDBusProxy) manager = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, OBJECT, NAME, NULL, NULL);
        GVariant *arguments = g_variant_new_parsed("(0, {'delivery': <'pull'>}, -1)");
        g_autoptr(GVariant) reply = g_dbus_proxy_call_sync(manager, "Listen", arguments, 0, -1, NULL, &error);
        if (!reply)
                g_error("Failed to listen: %s", error->message);
        const char *path;
        g_variant_get(reply, "(&o)", &path);
        g_autoptr(GDBusProxy) listener = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, path, NAME ".Listener", NULL, NULL);
        g_print("%u\n", g_variant_get_uint16(g_dbus_proxy_get_cached_property(listener, "LocalPort")));
        for (;;) {
                g_autoptr(GUnixFDList) list = NULL;
                g_autoptr(GVariant) accepted = g_dbus_proxy_call_with_unix_fd_list_sync(
                                listener, "Accept", g_variant_new("(uu)", 16, 20000), 0, -1, NULL, &list, NULL, &error);
                if (!accepted)
                        g_error("Failed to accept: %s", error->message);
                int n = 0;
                g_autofree int *fds = list ? g_unix_fd_list_steal_fds(list, &n) : NULL;
                for (int i = 0; i < n; i++) {
                        g_autoptr(GSocket) connection = g_socket_new_from_fd(fds[i], NULL);
                        g_socket_send(connection, "!", 1, NULL, NULL);
                }
        }
}
