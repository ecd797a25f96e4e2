/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-call serve-call.c $(pkg-config --cflags --libs libsystemd) */
#include <stdio.h>
#include <systemd/sd-bus.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static int accept_socket(sd_bus_message *message, void *data, sd_bus_error *error) {
        const char *listener;
        int fd;

        sd_bus_message_read(message, "oh", &listener, &fd);
        dprintf(fd, "!"); /* The descriptor is closed with the message; dup() keeps it. */
        return sd_bus_reply_method_return(message, NULL);
}

static const sd_bus_vtable client[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("AcceptSocket", "ohsqa{sv}", NULL, accept_socket, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int main(void) {
        sd_bus_message *reply;
        const char *path;
        uint16_t port;
        sd_bus *bus;

        sd_bus_open_system(&bus);
        sd_bus_add_object_vtable(bus, NULL, OBJECT "/Client", NAME ".Client", client, NULL);
        if (sd_bus_call_method(bus, NAME, OBJECT, NAME, "Listen", NULL, &reply, "ia{sv}i", 0, 1, "delivery", "s",
                               "call", -1) < 0)
                return 1;
        sd_bus_message_read(reply, "o", &path);
        sd_bus_get_property_trivial(bus, NAME, path, NAME ".Listener", "LocalPort", NULL, 'q', &port);
        printf("%u\n", port);
        fflush(stdout);
        while (sd_bus_process(bus, NULL) > 0 || sd_bus_wait(bus, UINT64_MAX) >= 0);
}
