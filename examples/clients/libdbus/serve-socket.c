/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-socket serve-socket.c $(pkg-config --cflags --libs dbus-1) */
#define _GNU_SOURCE
#include "listen.h"

#include <sys/socket.h>

int main(void) {
        DBusConnection *bus = dbus_bus_get(DBUS_BUS_SYSTEM, NULL);
        const char *listener = listen_with(bus, "socket");
        int server, connection;

        DBusMessage *take = dbus_message_new_method_call(NAME, listener, NAME ".Listener", "TakeSocket");
        dbus_message_get_args(call(bus, take), NULL, 'h', &server, 0);
        while ((connection = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                dprintf(connection, "!");
                close(connection);
        }
}
