/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dbus/dbus.h>
#include <err.h>
#include <stdio.h>
#include <unistd.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static inline DBusMessage *call(DBusConnection *bus, DBusMessage *message) {
        DBusError error = DBUS_ERROR_INIT;
        DBusMessage *reply = dbus_connection_send_with_reply_and_block(bus, message, -1, &error);
        if (!reply)
                errx(1, "%s failed: %s", dbus_message_get_member(message), error.message);
        return reply;
}

/* Listens on a port, prints it, and returns the path of the listener. */
static inline const char *listen_with(DBusConnection *bus, const char *delivery) {
        DBusMessage *listen = dbus_message_new_method_call(NAME, OBJECT, NAME, "Listen");
        DBusMessageIter arguments, options, option, value;
        const char *path, *key = "delivery", *interface = NAME ".Listener", *property = "LocalPort";
        dbus_uint16_t port;

        dbus_message_iter_init_append(listen, &arguments);
        dbus_message_iter_append_basic(&arguments, 'i', &(int){ 0 });
        dbus_message_iter_open_container(&arguments, 'a', "{sv}", &options);
        dbus_message_iter_open_container(&options, 'e', NULL, &option);
        dbus_message_iter_append_basic(&option, 's', &key);
        dbus_message_iter_open_container(&option, 'v', "s", &value);
        dbus_message_iter_append_basic(&value, 's', &delivery);
        dbus_message_iter_close_container(&option, &value);
        dbus_message_iter_close_container(&options, &option);
        dbus_message_iter_close_container(&arguments, &options);
        dbus_message_iter_append_basic(&arguments, 'i', &(int){ -1 });
        dbus_message_get_args(call(bus, listen), NULL, 'o', &path, 0);
        DBusMessage *get = dbus_message_new_method_call(NAME, path, DBUS_INTERFACE_PROPERTIES, "Get");
        dbus_message_append_args(get, 's', &interface, 's', &property, 0);
        dbus_message_iter_init(call(bus, get), &arguments);
        dbus_message_iter_recurse(&arguments, &value);
        dbus_message_iter_get_basic(&value, &port);
        dprintf(STDOUT_FILENO, "%u\n", port);
        return path;
}
