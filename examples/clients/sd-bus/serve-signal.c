/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-signal serve-signal.c $(pkg-config --cflags --libs libsystemd) */
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static int on_accept_socket(sd_bus_message *message, void *data, sd_bus_error *error) {
        const char *listener;
        int fd;

        sd_bus_message_read(message, "oh", &listener, &fd);
        dprintf(fd, "!"); /* The descriptor is closed with the message; dup() keeps it. */
        return 0;
}

int main(void) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply;
        const char *path;
        uint16_t port;
        sd_bus *bus;

        sd_bus_open_system(&bus);
        sd_bus_match_signal(bus, NULL, NAME, OBJECT, NAME, "AcceptSocket", on_accept_socket, NULL);
        if (sd_bus_call_method(bus, NAME, OBJECT, NAME, "Listen", &error, &reply, "ia{sv}i", 0, 0, -1) < 0) {
                fprintf(stderr, "Failed to listen: %s\n", error.message);
                return EXIT_FAILURE;
        }
        sd_bus_message_read(reply, "o", &path);
        sd_bus_get_property_trivial(bus, NAME, path, NAME ".Listener", "LocalPort", NULL, 'q', &port);
        printf("%u\n", port);
        fflush(stdout);
        while (sd_bus_process(bus, NULL) > 0 || sd_bus_wait(bus, UINT64_MAX) >= 0)
                ;
}
