/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-signal serve-signal.c $(pkg-config --cflags --libs dbus-1) */
#include "listen.h"

static DBusHandlerResult on_message(DBusConnection *bus, DBusMessage *message, void *data) {
        const char *listener;
        int fd;

        if (!dbus_message_is_signal(message, NAME, "AcceptSocket"))
                return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;

        dbus_message_get_args(message, NULL, 'o', &listener, 'h', &fd, 0);
        dprintf(fd, "!");
        close(fd);
        return DBUS_HANDLER_RESULT_HANDLED;
}

int main(void) {
        DBusConnection *bus = dbus_bus_get(DBUS_BUS_SYSTEM, NULL);

        dbus_bus_add_match(bus, "type='signal',sender='" NAME "',interface='" NAME "'", NULL);
        dbus_connection_add_filter(bus, on_message, NULL, NULL);
        listen_with(bus, "signal");
        while (dbus_connection_read_write_dispatch(bus, -1));
}
