/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-call serve-call.c $(pkg-config --cflags --libs dbus-1) */
#include "listen.h"

static DBusHandlerResult on_message(DBusConnection *bus, DBusMessage *message, void *data) {
        const char *listener;
        int fd;

        if (!dbus_message_is_method_call(message, NAME ".Client", "AcceptSocket"))
                return DBUS_HANDLER_RESULT_NOT_YET_HANDLED;

        dbus_message_get_args(message, NULL, 'o', &listener, 'h', &fd, 0);
        dprintf(fd, "!");
        close(fd);
        DBusMessage *reply = dbus_message_new_method_return(message);
        dbus_connection_send(bus, reply, NULL);
        dbus_message_unref(reply);
        return DBUS_HANDLER_RESULT_HANDLED;
}

int main(void) {
        DBusConnection *bus = dbus_bus_get(DBUS_BUS_SYSTEM, NULL);
        const DBusObjectPathVTable client = { .message_function = on_message };

        dbus_connection_register_object_path(bus, OBJECT "/Client", &client, NULL);
        listen_with(bus, "call");
        while (dbus_connection_read_write_dispatch(bus, -1));
}
