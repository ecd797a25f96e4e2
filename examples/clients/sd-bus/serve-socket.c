/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-socket serve-socket.c $(pkg-config --cflags --libs libsystemd) */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

int main(void) {
        sd_bus_message *reply;
        const char *path;
        uint16_t port;
        sd_bus *bus;
        int server, connection;

        sd_bus_open_system(&bus);
        if (sd_bus_call_method(bus, NAME, OBJECT, NAME, "Listen", NULL, &reply, "ia{sv}i", 0, 1, "delivery", "s",
                               "socket", -1) < 0)
                return 1;
        sd_bus_message_read(reply, "o", &path);
        sd_bus_get_property_trivial(bus, NAME, path, NAME ".Listener", "LocalPort", NULL, 'q', &port);
        sd_bus_call_method(bus, NAME, path, NAME ".Listener", "TakeSocket", NULL, &reply, NULL);
        sd_bus_message_read(reply, "h", &server);
        printf("%u\n", port);
        fflush(stdout);
        while ((connection = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                dprintf(connection, "!");
                close(connection);
        }
}
