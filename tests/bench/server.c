/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The programs that are measured, in one executable. Each listens on 127.0.0.1 and prints its ports, one a
 * line, and then "ready".
 *
 * - bench-server DELIVERY [NUMBER-OF-LISTENERS FIRST-PORT]: a client of the service: signal, call, pull,
 *   channel, socket, or channel-batch, which is channel with 16 connections a packet
 * - bench-server send-signals NAME, send-calls NAME: accepts, and sends each connection over the bus to NAME,
 *   in the message that the service would send: the limits for "signal" and "call"
 * - bench-server take-signals, take-calls: serves the connections of these, and prints its unique name
 *   instead of a port
 * - bench-server accept [PATH]: accepts and serves: the limit for programs that bind their port themselves
 * - bench-server stream [PATH], stream-socket: has a process for each connection, of which the first byte
 *   says what to do: 'S' swallows all bytes up to one that is not 0, and returns their number; 'E' echoes
 *   each byte. The latter takes its socket from the service
 * - bench-server accept-header, stream-header: the same behind a relay that sends a header of the PROXY
 * protocol, version 2, which they read first
 *
 * A connection is served by writing one byte to it and closing it. The clients are as fast as programs with
 * sd-bus and plain system calls can be, so that the deliveries are measured and not the clients. If the
 * service does not offer a delivery, the client exits with 77.
 *
 * "send-signals" has no flow control. It overruns no client because the load has no more connections under
 * way than the bus takes of a sender's descriptors. With "stream", one direction need not end before the
 * other, because not all relays support that.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>

#include "base/channel.h"
#include "base/macros.h"

#define BUS_NAME "org.example.TCPServerSocket"
#define MANAGER_PATH "/org/example/TCPServerSocket"
#define MANAGER_INTERFACE "org.example.TCPServerSocket"
#define LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"
#define CLIENT_PATH "/org/example/TCPServerSocket/Client"
#define CLIENT_INTERFACE "org.example.TCPServerSocket.Client"

#define EXIT_NOT_OFFERED 77

/* The most that a reply can have. */
#define PULL_MAX UINT32_C(16)
#define PULL_TIMEOUT_MS UINT32_C(20000)
#define PULL_CALLS 1

/* Connections in a packet of "channel-batch". */
#define CHANNEL_BATCH 16

/* The service accepts as many in a row, and makes as many calls to a client at a time. */
#define ACCEPT_BATCH 16
#define CALLS_MAX 8

static sd_bus *bus;
static unsigned arg_n_listeners = 1;
static bool arg_header = false;
static uint16_t arg_first_port = 0; /* 0: the kernel chooses */

/* --- Connections --- */

/* Prints the error on standard output, which rows.c reads. The error is an errno, negative or not. */
static _Noreturn void serve_fail(const char *what, int error) {
        printf("%s: %s\n", what, strerror(error < 0 ? -error : error));
        exit(EXIT_FAILURE);
}

/* Of version 2, with IPv4 addresses. */
static void read_header(int fd) {
        char header[28];

        if (arg_header)
                (void) !recv(fd, header, sizeof(header), MSG_WAITALL);
}

static void serve_connection(int fd) {
        read_header(fd);
        /* The peer may have closed the connection. */
        (void) !write(fd, "x", 1);
}

static _Noreturn void serve_listening_socket(int fd) {
        for (;;) {
                int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

                if (connection >= 0) {
                        serve_connection(connection);
                        (void) close(connection);
                } else if (errno == EAGAIN)
                        (void) poll(&(struct pollfd) { .fd = fd, .events = POLLIN }, 1, -1);
                else if (errno != ECONNABORTED && errno != EINTR)
                        serve_fail("Cannot accept", errno);
        }
}

static void serve_say_ready(void) {
        puts("ready");
        (void) fflush(stdout);
}

static int listen_on_port(int flags, struct sockaddr_in *ret) {
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

/* Without a path, on a port that the kernel chooses. */
static int listen_on(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct sockaddr_in unused;
        int fd;

        if (!path)
                return listen_on_port(0, &unused);

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(fd, SOMAXCONN) < 0)
                serve_fail("Cannot listen", errno);
        puts(path);
        return fd;
}

static void swallow(int fd) {
        static char buffer[1 << 20];
        uint64_t total = 0;
        ssize_t n;

        do {
                n = recv(fd, buffer, sizeof(buffer), 0);
                if (n <= 0)
                        return;
                total += (uint64_t) n;
        } while (buffer[n - 1] == 0);
        (void) !write(fd, &total, sizeof(total));
}

static void echo(int fd) {
        char buffer[4096];
        ssize_t n;

        while ((n = recv(fd, buffer, sizeof(buffer), 0)) > 0)
                if (write(fd, buffer, (size_t) n) != n)
                        return;
}

static _Noreturn void serve_streams(int fd) {
        (void) signal(SIGCHLD, SIG_IGN);
        for (;;) {
                int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
                char how;

                if (connection < 0)
                        continue;
                if (fork() == 0) {
                        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                        read_header(connection);
                        if (recv(connection, &how, 1, 0) == 1)
                                how == 'S' ? swallow(connection) : echo(connection);
                        _exit(0);
                }
                (void) close(connection);
        }
}

/* --- Clients of the service --- */

static _Noreturn void fail_call(const char *what, const sd_bus_error *error) {
        static const char *const not_offered[] = {
                SD_BUS_ERROR_NOT_SUPPORTED,
                SD_BUS_ERROR_UNKNOWN_METHOD,
                "org.example.TCPServerSocket.Error.WrongDelivery",
        };

        printf("%s: %s\n", what, error->message);
        for (size_t i = 0; i < ELEMENTS(not_offered); i++)
                if (sd_bus_error_has_name(error, not_offered[i]))
                        exit(EXIT_NOT_OFFERED);
        exit(EXIT_FAILURE);
}

static uint16_t get_port(const char *listener) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint16_t port;
        int r;

        r = sd_bus_get_property_trivial(bus, BUS_NAME, listener, LISTENER_INTERFACE, "LocalPort", &error, 'q',
                                        &port);
        if (r < 0)
                fail_call("LocalPort", &error);
        return port;
}

/* A batch of 0: without the option channelBatch. */
static int new_listen(const char *delivery, uint32_t batch, uint16_t port, sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_call(bus, ret, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "Listen");
        if (r < 0)
                return r;
        if (batch == 0)
                return sd_bus_message_append(*ret, "ia{sv}i", (int32_t) port, 2, "localAddress", "s",
                                             "127.0.0.1", "delivery", "s", delivery, (int32_t) -1);
        return sd_bus_message_append(*ret, "ia{sv}i", (int32_t) port, 3, "localAddress", "s", "127.0.0.1",
                                     "delivery", "s", delivery, "channelBatch", "u", batch, (int32_t) -1);
}

/* Returns the listener's path, or NULL if another program has the port. */
static char *listen_by_service(const char *delivery, uint32_t batch, uint16_t port) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        char *listener;
        int r;

        r = new_listen(delivery, batch, port, &m);
        if (r < 0)
                serve_fail("Cannot write a call of Listen", r);
        r = sd_bus_call(bus, m, 0, &error, &reply);
        if (sd_bus_error_has_name(&error, SD_BUS_ERROR_ADDRESS_IN_USE))
                return NULL;
        if (r < 0)
                fail_call("Listen", &error);

        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                serve_fail("Cannot read the reply of Listen", r);
        listener = strdup(path);
        if (!listener)
                serve_fail("Cannot keep the path", ENOMEM);

        printf("%" PRIu16 "\n", port > 0 ? port : get_port(listener));
        return listener;
}

/* Creates the listeners, without the ports that other programs have. Returns the last. */
static char *listen_all_with(const char *delivery, uint32_t batch) {
        unsigned port = arg_first_port;
        char *last = NULL;

        for (unsigned n = 0; n < arg_n_listeners && port <= UINT16_MAX;) {
                char *listener = listen_by_service(delivery, batch, (uint16_t) port);

                if (listener) {
                        free(last);
                        last = listener;
                        n++;
                }
                if (port > 0)
                        port++;
        }
        return last;
}

static char *listen_all(const char *delivery) {
        return listen_all_with(delivery, 0);
}

/* Through a method of the listener that returns a descriptor. */
static int take_fd(const char *listener, const char *member) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int fd, r;

        r = sd_bus_call_method(bus, BUS_NAME, listener, LISTENER_INTERFACE, member, &error, &reply, NULL);
        if (r < 0)
                fail_call(member, &error);

        r = sd_bus_message_read(reply, "h", &fd);
        if (r < 0)
                serve_fail("Cannot read a descriptor", r);
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                serve_fail("Cannot keep a descriptor", errno);
        return fd;
}

static void receive(void) {
        int r;

        serve_say_ready();
        for (;;) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r < 0)
                        serve_fail("Cannot read from the bus", r);
        }
}

static void serve_socket_streams(void) {
        int fd = take_fd(listen_all("socket"), "TakeSocket");

        serve_say_ready();
        serve_streams(fd);
}

static void serve_socket(void) {
        int fd = take_fd(listen_all("socket"), "TakeSocket");

        serve_say_ready();
        serve_listening_socket(fd);
}

static void serve_packet(int channel) {
        ChannelRecord records[CHANNEL_BATCH_MAX];
        int fds[CHANNEL_BATCH_MAX];
        ssize_t n;

        n = channel_receive(channel, 0, records, fds, ELEMENTS(fds));
        if (n <= 0)
                serve_fail("The channel has ended", n < 0 ? (int) n : EPIPE);

        for (ssize_t i = 0; i < n; i++) {
                serve_connection(fds[i]);
                (void) close(fds[i]);
        }
}

static _Noreturn void serve_channel_of(char *listener) {
        int channel = take_fd(listener, "OpenChannel");

        serve_say_ready();
        for (;;)
                serve_packet(channel);
}

static void serve_channel(void) {
        serve_channel_of(listen_all("channel"));
}

static void serve_channel_batch(void) {
        serve_channel_of(listen_all_with("channel", CHANNEL_BATCH));
}

static int serve_reply(sd_bus_message *reply) {
        int fd, r;

        r = sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(reply, 'r', "hsqa{sv}")) > 0) {
                r = sd_bus_message_read(reply, "h", &fd);
                if (r < 0)
                        return r;
                serve_connection(fd);

                r = sd_bus_message_skip(reply, "sqa{sv}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
                if (r < 0)
                        return r;
        }
        return r;
}

static void pull(const char *listener);

static int on_accepted(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        const char *listener = userdata;
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        int r;

        if (error)
                fail_call("Accept", error);
        r = serve_reply(reply);
        if (r < 0)
                serve_fail("Cannot read the reply of Accept", r);

        pull(listener);
        return 0;
}

static void pull(const char *listener) {
        int r;

        r = sd_bus_call_method_async(bus, NULL, BUS_NAME, listener, LISTENER_INTERFACE, "Accept", on_accepted,
                                     (void *) listener, "uu", PULL_MAX, PULL_TIMEOUT_MS);
        if (r < 0)
                serve_fail("Cannot call Accept", r);
}

static void serve_pull(void) {
        char *listener = listen_all("pull");

        for (unsigned i = 0; i < PULL_CALLS; i++)
                pull(listener);
        receive();
}

static int on_accept_socket(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *listener;
        int fd, r;

        r = sd_bus_message_read(m, "oh", &listener, &fd);
        if (r < 0)
                serve_fail("Cannot read AcceptSocket", r);

        /* The message closes it afterwards. */
        serve_connection(fd);
        return 0;
}

static void subscribe(void) {
        int r;

        r = sd_bus_match_signal(bus, NULL, NULL, MANAGER_PATH, MANAGER_INTERFACE, "AcceptSocket",
                                on_accept_socket, NULL);
        if (r < 0)
                serve_fail("Cannot subscribe", r);
}

static void serve_signals(void) {
        subscribe();
        free(listen_all("signal"));
        receive();
}

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        int r;

        r = on_accept_socket(m, userdata, ret_error);
        return r < 0 ? r : sd_bus_reply_method_return(m, NULL);
}

static void export_client(void) {
        static const sd_bus_vtable vtable[] = {
                SD_BUS_VTABLE_START(0),
                SD_BUS_METHOD("AcceptSocket", "ohsqa{sv}", NULL, on_call, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_VTABLE_END,
        };
        int r;

        r = sd_bus_add_object_vtable(bus, NULL, CLIENT_PATH, CLIENT_INTERFACE, vtable, NULL);
        if (r < 0)
                serve_fail("Cannot export an object", r);
}

static void serve_calls(void) {
        export_client();
        free(listen_all("call"));
        receive();
}

/* --- The limits of "signal" and "call": the same clients, of another sender --- */

static void print_unique_name(void) {
        const char *name;
        int r;

        r = sd_bus_get_unique_name(bus, &name);
        if (r < 0)
                serve_fail("Cannot find out the own name", r);
        puts(name);
}

static void take_signals(void) {
        subscribe();
        print_unique_name();
        receive();
}

static void take_calls(void) {
        export_client();
        print_unique_name();
        receive();
}

static unsigned n_calls;

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);

        if (error)
                fail_call("AcceptSocket", error);
        n_calls--;
        return 0;
}

static int send_signal(sd_bus_message *m) {
        return sd_bus_send(bus, m, NULL);
}

static int send_call(sd_bus_message *m) {
        n_calls++;
        return sd_bus_call_async(bus, NULL, m, on_reply, NULL, UINT64_MAX);
}

static int new_signal(sd_bus_message **ret, const char *destination) {
        int r;

        r = sd_bus_message_new_signal(bus, ret, MANAGER_PATH, MANAGER_INTERFACE, "AcceptSocket");
        return r < 0 ? r : sd_bus_message_set_destination(*ret, destination);
}

static int new_call(sd_bus_message **ret, const char *destination) {
        return sd_bus_message_new_method_call(bus, ret, destination, CLIENT_PATH, CLIENT_INTERFACE,
                                              "AcceptSocket");
}

/* A way to send connections. */
typedef struct Sender {
        int (*create)(sd_bus_message **ret, const char *destination);
        int (*send)(sd_bus_message *m);
} Sender;

/* Returns 0 if no connection waits. */
static int pass_on_one(const Sender *sender,
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

        r = sender->create(&m, destination);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ohsqa{sv}", MANAGER_PATH "/listener/1", fd,
                                  inet_ntop(AF_INET, &peer.sin_addr, remote_address, sizeof(remote_address)),
                                  ntohs(peer.sin_port), 4, "serial", "t", ++serial, "localAddress", "s",
                                  local_address, "localPort", "q", local_port, "binaryType", "s", "string");
        if (r < 0)
                return r;
        r = sender->send(m);
        return r < 0 ? r : 1;
}

static _Noreturn void pass_on(const Sender *sender, const char *destination) {
        char address[INET_ADDRSTRLEN];
        struct sockaddr_in local;
        uint64_t n_queued;
        int listening, r;

        listening = listen_on_port(SOCK_NONBLOCK, &local);
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

                /* Messages that the socket of the bus did not take go first. */
                if (n_queued > 0)
                        fds[0].events |= POLLOUT;
                if (n_queued > 0 || n_calls >= CALLS_MAX)
                        fds[1].fd = -1;
                if (poll(fds, ELEMENTS(fds), -1) < 0)
                        serve_fail("Cannot wait", errno);

                r = fds[1].fd >= 0 && fds[1].revents != 0;
                for (unsigned n = 0; r > 0 && n < ACCEPT_BATCH && n_calls < CALLS_MAX; n++)
                        r = pass_on_one(sender, listening, destination, address, ntohs(local.sin_port));
                if (r < 0)
                        serve_fail("Cannot pass a connection on", r);
        }
}

int main(int argc, char *argv[]) {
        static const struct {
                const char *name;
                void (*serve)(void);
        } ways[] = {
                { "signal", serve_signals },
                { "call", serve_calls },
                { "pull", serve_pull },
                { "channel", serve_channel },
                { "socket", serve_socket },
                { "channel-batch", serve_channel_batch },
                { "take-signals", take_signals },
                { "take-calls", take_calls },
                { "stream-socket", serve_socket_streams },
        };
        static const Sender signals = { new_signal, send_signal }, calls = { new_call, send_call };
        const char *way = argc > 1 ? argv[1] : "";
        int fd, r;

        (void) signal(SIGPIPE, SIG_IGN);

        arg_header = strstr(way, "-header");
        if (strncmp(way, "accept", 6) == 0 || streq(way, "stream") || streq(way, "stream-header")) {
                fd = listen_on(argv[2]);
                serve_say_ready();
                *way == 'a' ? serve_listening_socket(fd) : serve_streams(fd);
        }

        r = sd_bus_open_system(&bus);
        if (r < 0)
                serve_fail("Cannot connect to the bus", r);
        if (streq(way, "send-signals") && argc == 3)
                pass_on(&signals, argv[2]);
        if (streq(way, "send-calls") && argc == 3)
                pass_on(&calls, argv[2]);

        if (argc > 2)
                arg_n_listeners = (unsigned) strtoul(argv[2], NULL, 10);
        if (argc > 3)
                arg_first_port = (uint16_t) strtoul(argv[3], NULL, 10);
        for (size_t i = 0; i < ELEMENTS(ways); i++)
                if (streq(way, ways[i].name))
                        ways[i].serve();

        fprintf(stderr,
                "Usage: %s signal|call|pull|channel|channel-batch|socket|stream-socket [N [PORT]] | take-signals|take-calls | "
                "send-signals|send-calls NAME | accept|stream [PATH] | "
                "accept-header|stream-header\n",
                argv[0]);
        return EXIT_FAILURE;
}
