/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-call serve-call.c $(pkg-config --cflags --libs gio-unix-2.0) */
#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static const char xml[] = "<node><interface name='" NAME ".Client'><method name='AcceptSocket'>"
                          "<arg type='o'/><arg type='h'/><arg type='s'/><arg type='q'/><arg type='a{sv}'/>"
                          "</method></interface></node>";

static void on_call(GDBusConnection *bus, const char *sender, const char *object, const char *interface,
                    const char *method, GVariant *arguments, GDBusMethodInvocation *invocation, void *data) {
        GDBusMessage *message = g_dbus_method_invocation_get_message(invocation);
        g_autofree int *fds = g_unix_fd_list_steal_fds(g_dbus_message_get_unix_fd_list(message), NULL);
        g_autoptr(GSocket) connection = g_socket_new_from_fd(fds[0], NULL);
        g_socket_send(connection, "!", 1, NULL, NULL);
        g_dbus_method_invocation_return_value(invocation, NULL);
}

int main(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GDBusConnection) bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        g_autoptr(GDBusNodeInfo) node = g_dbus_node_info_new_for_xml(xml, NULL);
        g_dbus_connection_register_object(bus, OBJECT "/Client", node->interfaces[0],
                                          &(GDBusInterfaceVTable){ .method_call = on_call }, NULL, NULL, NULL);
        g_autoptr(GDBusProxy) manager = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, OBJECT, NAME, NULL, NULL);
        GVariant *arguments = g_variant_new_parsed("(0, {'delivery': <'call'>}, -1)");
        g_autoptr(GVariant) reply = g_dbus_proxy_call_sync(manager, "Listen", arguments, 0, -1, NULL, &error);
        if (!reply)
                g_error("Failed to listen: %s", error->message);
        const char *path;
        g_variant_get(reply, "(&o)", &path);
        g_autoptr(GDBusProxy) listener = g_dbus_proxy_new_sync(bus, 0, NULL, NAME, path, NAME ".Listener", NULL, NULL);
        g_print("%u\n", g_variant_get_uint16(g_dbus_proxy_get_cached_property(listener, "LocalPort")));
        g_main_loop_run(g_main_loop_new(NULL, FALSE));
}
