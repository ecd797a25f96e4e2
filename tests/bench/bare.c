/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The two limits. Each listens on a port of 127.0.0.1 that the kernel chooses, and says which.
 *
 *     bench-bare accept        accepts and serves: as fast as a program can be that binds its port itself
 *     bench-bare send NAME     accepts and sends each connection over the bus to NAME, in the message that
 * the service would send: as fast as signals can be
 *
 * The second knows nothing of what becomes of its messages. That it overruns nobody is due to the load, which
 * has no more connections under way than the bus takes of a sender's descriptors.
 */

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>

#include "base/macros.h"
#include "bench/serve.h"

#define MANAGER_PATH "/org/example/TCPServerSocket"
#define MANAGER_INTERFACE "org.example.TCPServerSocket"

/* As many as the service takes in one go. */
#define BATCH 16

static int listen_on_any_port(int flags, struct sockaddr_in *ret) {
        socklen_t size = sizeof(*ret);
        int fd;

        *ret = (struct sockaddr_in) { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) ret, size) < 0 ||
            getsockname(fd, (struct sockaddr *) ret, &size) < 0 || listen(fd, SOMAXCONN) < 0)
                serve_fail("Cannot listen", errno);

        printf("%" PRIu16 "\n", ntohs(ret->sin_port));
        return fd;
}

/* Returns 0 if no connection waits. */
static int pass_on_one(sd_bus *bus,
                       int listening,
                       const char *destination,
                       const char *local_address,
                       uint16_t local_port) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        static uint64_t serial;
        char remote_address[INET_ADDRSTRLEN];
        struct sockaddr_in peer;
        socklen_t size = sizeof(peer);
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = accept4(listening, (struct sockaddr *) &peer, &size, SOCK_CLOEXEC);
        if (fd < 0 && errno == EAGAIN)
                return 0;
        if (fd < 0)
                return -errno;

        r = sd_bus_message_new_signal(bus, &m, MANAGER_PATH, MANAGER_INTERFACE, "AcceptSocket");
        if (r < 0)
                return r;
        r = sd_bus_message_set_destination(m, destination);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ohsqa{sv}", MANAGER_PATH "/listener/1", fd,
                                  inet_ntop(AF_INET, &peer.sin_addr, remote_address, sizeof(remote_address)),
                                  ntohs(peer.sin_port), 4, "serial", "t", ++serial, "localAddress", "s",
                                  local_address, "localPort", "q", local_port, "binaryType", "s", "string");
        if (r < 0)
                return r;
        r = sd_bus_send(bus, m, NULL);
        return r < 0 ? r : 1;
}

static _Noreturn void pass_on(const char *destination) {
        char address[INET_ADDRSTRLEN];
        struct sockaddr_in local;
        uint64_t n_queued;
        int listening, r;
        sd_bus *bus;

        r = sd_bus_open_system(&bus);
        if (r < 0)
                serve_fail("Cannot connect to the bus", r);
        listening = listen_on_any_port(SOCK_NONBLOCK, &local);
        (void) inet_ntop(AF_INET, &local.sin_addr, address, sizeof(address));
        serve_say_ready();

        for (;;) {
                struct pollfd fds[2] = { { .fd = sd_bus_get_fd(bus), .events = POLLIN },
                                         { .fd = listening, .events = POLLIN } };

                while ((r = sd_bus_process(bus, NULL)) > 0)
                        ;
                if (r >= 0)
                        r = sd_bus_get_n_queued_write(bus, &n_queued);
                if (r < 0)
                        serve_fail("Cannot use the bus", r);

                /* What the socket of the bus does not take now goes first. */
                if (n_queued > 0) {
                        fds[0].events |= POLLOUT;
                        fds[1].fd = -1;
                }
                if (poll(fds, ELEMENTS(fds), -1) < 0)
                        serve_fail("Cannot wait", errno);

                r = fds[1].fd >= 0 && fds[1].revents != 0;
                for (unsigned n = 0; r > 0 && n < BATCH; n++)
                        r = pass_on_one(bus, listening, destination, address, ntohs(local.sin_port));
                if (r < 0)
                        serve_fail("Cannot pass a connection on", r);
        }
}

int main(int argc, char *argv[]) {
        struct sockaddr_in local;
        int fd;

        (void) signal(SIGPIPE, SIG_IGN);

        if (argc == 2 && streq(argv[1], "accept")) {
                fd = listen_on_any_port(0, &local);
                serve_say_ready();
                serve_listening_socket(fd);
        }
        if (argc == 3 && streq(argv[1], "send"))
                pass_on(argv[2]);

        fprintf(stderr, "Usage: %s accept | send NAME\n", argv[0]);
        return EXIT_FAILURE;
}
