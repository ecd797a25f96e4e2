/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-pull serve-pull.c $(pkg-config --cflags --libs dbus-1) */
#include "listen.h"

int main(void) {
        DBusConnection *bus = dbus_bus_get(DBUS_BUS_SYSTEM, NULL);
        const char *listener = listen_with(bus, "pull");

        for (;;) {
                DBusMessage *accept = dbus_message_new_method_call(NAME, listener, NAME ".Listener", "Accept");
                dbus_message_append_args(accept, 'u', &(unsigned){ 16 }, 'u', &(unsigned){ 20000 }, 0);
                DBusMessage *reply = call(bus, accept);

                DBusMessageIter arguments, connections, connection;
                dbus_message_iter_init(reply, &arguments);
                dbus_message_iter_recurse(&arguments, &connections);
                while (dbus_message_iter_get_arg_type(&connections) == 'r') {
                        int fd;
                        dbus_message_iter_recurse(&connections, &connection);
                        dbus_message_iter_get_basic(&connection, &fd);
                        dprintf(fd, "!");
                        close(fd);
                        dbus_message_iter_next(&connections);
                }
                dbus_message_unref(accept);
                dbus_message_unref(reply);
        }
}
