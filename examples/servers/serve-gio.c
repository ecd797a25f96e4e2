/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A GSocketService: serve-gio [COMMAND...], which ends with COMMAND. */

#include <gio/gio.h>
#include <gio/gunixfdlist.h>

#define NAME "org.example.TCPServerSocket"

static gboolean on_incoming(GSocketService *service,
                            GSocketConnection *connection,
                            GObject *source,
                            void *data) {
        (void) g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), "!", 1, NULL,
                                         NULL, NULL);
        return TRUE;
}

static void on_closed(GDBusConnection *bus,
                      const char *sender,
                      const char *path,
                      const char *interface,
                      const char *signal,
                      GVariant *arguments,
                      void *service) {
        g_socket_service_stop(service);
}

static GVariant *call(GDBusConnection *bus,
                      const char *path,
                      const char *interface,
                      const char *method,
                      GVariant *arguments,
                      GUnixFDList **ret_fds) {
        g_autoptr(GError) error = NULL;
        GVariant *reply;

        reply = g_dbus_connection_call_with_unix_fd_list_sync(bus, NAME, path, interface, method, arguments,
                                                              NULL, G_DBUS_CALL_FLAGS_NONE, -1, NULL, ret_fds,
                                                              NULL, &error);
        if (!reply)
                g_error("%s: %s", method, error->message);
        return reply;
}

/* Runs a command that has the only copy of the lifeline. */
static void run(GDBusConnection *bus, const char *path, const char *const *command) {
        g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_NONE);
        g_autoptr(GSubprocess) process = NULL;
        g_autoptr(GUnixFDList) fds = NULL;
        g_autoptr(GVariant) reply = NULL;
        g_autoptr(GError) error = NULL;

        reply = call(bus, path, NAME ".Listener", "OpenLifeline", NULL, &fds);
        g_subprocess_launcher_take_fd(launcher, g_unix_fd_list_get(fds, 0, NULL), 3);
        process = g_subprocess_launcher_spawnv(launcher, command, &error);
        if (!process)
                g_error("%s", error->message);
}

int main(int argc, char *argv[]) {
        g_autoptr(GSocketService) service = g_socket_service_new();
        g_autoptr(GVariant) listen = NULL, port = NULL, taken = NULL, value = NULL;
        g_autoptr(GDBusConnection) bus = NULL;
        g_autoptr(GUnixFDList) fds = NULL;
        g_autoptr(GSocket) socket = NULL;
        const char *path;
        GVariantDict options;

        g_signal_connect(service, "incoming", G_CALLBACK(on_incoming), NULL);

        bus = g_bus_get_sync(G_BUS_TYPE_SYSTEM, NULL, NULL);
        g_dbus_connection_signal_subscribe(bus, NAME, NAME, "Closed", NULL, NULL, G_DBUS_SIGNAL_FLAGS_NONE,
                                           on_closed, service, NULL);

        g_variant_dict_init(&options, NULL);
        g_variant_dict_insert(&options, "delivery", "s", "socket");
        listen = call(bus, "/org/example/TCPServerSocket", NAME, "Listen",
                      g_variant_new("(i@a{sv}i)", 0, g_variant_dict_end(&options), -1), NULL);
        g_variant_get(listen, "(&o)", &path);

        taken = call(bus, path, NAME ".Listener", "TakeSocket", NULL, &fds);
        socket = g_socket_new_from_fd(g_unix_fd_list_get(fds, 0, NULL), NULL);
        (void) g_socket_listener_add_socket(G_SOCKET_LISTENER(service), socket, NULL, NULL);

        if (argc > 1)
                run(bus, path, (const char *const *) argv + 1);

        port = call(bus, path, "org.freedesktop.DBus.Properties", "Get",
                    g_variant_new("(ss)", NAME ".Listener", "LocalPort"), NULL);
        g_variant_get(port, "(v)", &value);
        g_print("%u\n", g_variant_get_uint16(value));

        g_main_loop_run(g_main_loop_new(NULL, FALSE));
        return 0;
}
