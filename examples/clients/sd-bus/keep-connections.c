/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o keep-connections keep-connections.c $(pkg-config --cflags --libs libsystemd) */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define NAME "org.example.TCPServerSocket"
#define OBJECT "/org/example/TCPServerSocket"

static int on_accept_socket(sd_bus_message *message, void *data, sd_bus_error *error) {
        const char *listener;
        int fd;

        sd_bus_message_read(message, "oh", &listener, &fd);
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3); /* A child process does not get this copy. */
        dprintf(fd, "!");
        return 0;
}

int main(void) {
        struct rlimit limit; /* 1024 by default, too few to keep connections */
        sd_bus_message *reply;
        const char *path;
        uint16_t port;
        sd_bus *bus;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        sd_bus_open_system(&bus);
        sd_bus_match_signal(bus, NULL, NAME, OBJECT, NAME, "AcceptSocket", on_accept_socket, NULL);
        if (sd_bus_call_method(bus, NAME, OBJECT, NAME, "Listen", NULL, &reply, "ia{sv}i", 0, 0, -1) < 0)
                return 1;
        sd_bus_message_read(reply, "o", &path);
        sd_bus_get_property_trivial(bus, NAME, path, NAME ".Listener", "LocalPort", NULL, 'q', &port);
        dprintf(STDOUT_FILENO, "%u\n", port);
        while (sd_bus_process(bus, NULL) > 0 || sd_bus_wait(bus, UINT64_MAX) >= 0);
}
