/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-pull serve-pull.c $(pkg-config --cflags --libs libsystemd) */
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

int main(void) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *path, *address;
        sd_bus_message *reply;
        uint16_t port;
        sd_bus *bus;
        int fd;

        sd_bus_open_system(&bus);
        if (sd_bus_call_method(bus, NAME, OBJECT, NAME, "Listen", &error, &reply, "ia{sv}i", 0, 1, "delivery", "s",
                               "pull", -1) < 0) {
                fprintf(stderr, "Failed to listen: %s\n", error.message);
                return EXIT_FAILURE;
        }
        sd_bus_message_read(reply, "o", &path);
        sd_bus_get_property_trivial(bus, NAME, path, NAME ".Listener", "LocalPort", NULL, 'q', &port);
        printf("%u\n", port);
        fflush(stdout);

        while (sd_bus_call_method(bus, NAME, path, NAME ".Listener", "Accept", &error, &reply, "uu", 16, 20000) >= 0) {
                sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})");
                while (sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") > 0) {
                        sd_bus_message_read(reply, "hsq", &fd, &address, &port);
                        dprintf(fd, "!"); /* dup() would keep the descriptor, which is closed with the message. */
                        sd_bus_message_skip(reply, "a{sv}");
                        sd_bus_message_exit_container(reply);
                }
                sd_bus_message_unref(reply);
        }
        fprintf(stderr, "Failed to accept: %s\n", error.message);
}
