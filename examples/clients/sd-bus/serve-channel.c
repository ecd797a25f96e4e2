/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cc -o serve-channel serve-channel.c $(pkg-config --cflags --libs libsystemd) */
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
        int channel;

        sd_bus_open_system(&bus);
        if (sd_bus_call_method(bus, NAME, OBJECT, NAME, "Listen", NULL, &reply, "ia{sv}i", 0, 1, "delivery", "s",
                               "channel", -1) < 0)
                return 1;
        sd_bus_message_read(reply, "o", &path);
        sd_bus_get_property_trivial(bus, NAME, path, NAME ".Listener", "LocalPort", NULL, 'q', &port);
        sd_bus_call_method(bus, NAME, path, NAME ".Listener", "OpenChannel", NULL, &reply, NULL);
        sd_bus_message_read(reply, "h", &channel);
        printf("%u\n", port);
        fflush(stdout);
        for (;;) {
                char addresses[64], control[CMSG_SPACE(sizeof(int))] __attribute__((aligned));
                struct iovec data = { addresses, sizeof(addresses) };
                struct msghdr packet = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                                         .msg_controllen = sizeof(control) };
                if (recvmsg(channel, &packet, MSG_CMSG_CLOEXEC) <= 0 || packet.msg_flags & MSG_CTRUNC)
                        return 0; /* the listener is closed, or RLIMIT_NOFILE is reached */
                int connection = *(int *) CMSG_DATA(CMSG_FIRSTHDR(&packet));
                dprintf(connection, "!");
                close(connection);
        }
}
