/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A client of org.example.TCPServerSocket that sends the data of each peer back: it subscribes, calls Listen,
 * and takes the descriptor out of each signal. It brings three peers of its own, and exits when all of them
 * have their answers and the port is free again.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-bus.h>

#define BUS_NAME "org.example.TCPServerSocket"
#define PATH "/org/example/TCPServerSocket"
#define LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"

#define N_PEERS 3U
#define DEADLINE_SEC 10

#define say(who, format, ...) printf("%-8s " format "\n", who __VA_OPT__(, ) __VA_ARGS__)

/* Returns r, or exits if it is a negative errno. */
static int must(const char *what, int r) {
        if (r < 0) {
                say("client", "%s: %s", what, strerror(-r));
                exit(EXIT_FAILURE);
        }
        return r;
}

static int connect_to(uint16_t port) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons(port) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return fd;
}

/* A process that knows TCP only. */
static void start_peer(unsigned number, uint16_t port) {
        char who[16], text[64], answer[64];

        if (must("Failed to start a peer", fork()) > 0)
                return;

        (void) snprintf(who, sizeof(who), "peer %u", number);
        size_t length = (size_t) snprintf(text, sizeof(text), "Greetings from peer number %u!", number);
        (void) alarm(DEADLINE_SEC);
        int fd = must("Failed to connect", connect_to(port));
        say(who, "Connected to port %" PRIu16 ", sends %zu bytes: \"%s\"", port, length, text);
        if (send(fd, text, length, MSG_NOSIGNAL) != (ssize_t) length || shutdown(fd, SHUT_WR) < 0 ||
            recv(fd, answer, length, MSG_WAITALL) != (ssize_t) length || memcmp(answer, text, length) != 0) {
                say(who, "Failed to get the same bytes back");
                exit(EXIT_FAILURE);
        }
        say(who, "Got the same %zu bytes back", length);
        exit(EXIT_SUCCESS);
}

static int on_accept_socket(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        unsigned *n_served = userdata;
        const char *listener, *address;
        char buffer[4096];
        size_t n_bytes = 0;
        uint16_t port;
        ssize_t n;
        int fd;

        must("Failed to read AcceptSocket", sd_bus_message_read(m, "ohsq", &listener, &fd, &address, &port));
        /* The message closes its descriptor. */
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        must("Failed to copy the descriptor", fd);
        say("client", "AcceptSocket: a connection from %s port %" PRIu16 " is descriptor %i", address, port,
            fd);

        while ((n = read(fd, buffer, sizeof(buffer))) > 0 && send(fd, buffer, (size_t) n, MSG_NOSIGNAL) == n)
                n_bytes += (size_t) n;
        say("client", "Sent %zu bytes back through descriptor %i", n_bytes, fd);
        (void) close(fd);
        (*n_served)++;
        return 0;
}

static int on_closed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *listener, *reason;

        must("Failed to read Closed", sd_bus_message_read(m, "os", &listener, &reason));
        say("client", "Closed: %s, reason \"%s\"", listener, reason);
        *(bool *) userdata = true;
        return 0;
}

static int on_anything(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return 0;
}

static void run_once(sd_bus *bus) {
        if (must("Failed to read from the bus", sd_bus_process(bus, NULL)) == 0)
                must("Failed to wait for the bus", sd_bus_wait(bus, UINT64_MAX));
}

/* The unique name of the service, once it is on the bus. */
static sd_bus_message *find_service(sd_bus *bus, const char **ret) {
        sd_bus_message *reply = NULL;

        must("Failed to subscribe",
             sd_bus_match_signal(bus, NULL, "org.freedesktop.DBus", NULL, "org.freedesktop.DBus",
                                 "NameOwnerChanged", on_anything, NULL));
        while (sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                  "org.freedesktop.DBus", "GetNameOwner", NULL, &reply, "s", BUS_NAME) < 0)
                run_once(bus);
        must("Failed to read the name", sd_bus_message_read(reply, "s", ret));
        return reply;
}

int main(void) {
        sd_bus_message *reply = NULL;
        unsigned n_served = 0, n_ended = 0;
        const char *service, *listener;
        sd_bus *bus = NULL;
        bool closed = false;
        uint16_t port;
        int status;

        /* The peers write as well. */
        (void) setvbuf(stdout, NULL, _IOLBF, 0);
        (void) alarm(DEADLINE_SEC);
        must("Failed to connect to the bus", sd_bus_open_system(&bus));
        sd_bus_message *owner = find_service(bus, &service);
        say("client", "Found the service on the bus: " BUS_NAME " is %s", service);

        /* Before Listen, to miss no signal. sd-bus compares unique names of senders only. */
        must("Failed to subscribe", sd_bus_match_signal(bus, NULL, service, PATH, BUS_NAME, "AcceptSocket",
                                                        on_accept_socket, &n_served));
        must("Failed to subscribe",
             sd_bus_match_signal(bus, NULL, service, PATH, BUS_NAME, "Closed", on_closed, &closed));
        must("Listen failed", sd_bus_call_method(bus, BUS_NAME, PATH, BUS_NAME, "Listen", NULL, &reply,
                                                 "ia{sv}i", -1, 1, "localAddress", "s", "127.0.0.1", -1));
        must("Failed to read the reply", sd_bus_message_read(reply, "o", &listener));
        must("Failed to get the port",
             sd_bus_get_property_trivial(bus, BUS_NAME, listener, LISTENER_INTERFACE, "LocalPort", NULL, 'q',
                                         &port));
        say("client", "Listen returned %s; the kernel chose port %" PRIu16, listener, port);

        for (unsigned i = 1; i <= N_PEERS; i++)
                start_peer(i, port);
        while (n_served < N_PEERS)
                run_once(bus);
        for (; n_ended < N_PEERS && wait(&status) > 0; n_ended++)
                if (status != 0)
                        return EXIT_FAILURE;

        must("Close failed",
             sd_bus_call_method(bus, BUS_NAME, listener, LISTENER_INTERFACE, "Close", NULL, NULL, NULL));
        say("client", "Close returned; one more peer at port %" PRIu16 " gets: %s", port,
            strerror(-connect_to(port)));
        while (!closed)
                run_once(bus);

        sd_bus_message_unref(reply);
        sd_bus_message_unref(owner);
        sd_bus_flush_close_unref(bus);
        return EXIT_SUCCESS;
}
