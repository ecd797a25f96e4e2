/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The clients of the service: each gets its connections in one way, writes one byte to each and closes it.
 *
 *     bench-client WAY [NUMBER-OF-LISTENERS FIRST-PORT]
 *
 * It does that as fast as a program can that uses sd-bus and plain system calls, so that what is measured is
 * the way and not the client. It says on which ports it listens, one a line, and then "ready". If the service
 * does not offer the way, it says so and exits with 77.
 */

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>

#include "base/macros.h"
#include "bench/serve.h"

#define BUS_NAME "org.example.TCPServerSocket"
#define MANAGER_PATH "/org/example/TCPServerSocket"
#define MANAGER_INTERFACE "org.example.TCPServerSocket"
#define LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"

#define EXIT_NOT_OFFERED 77

/* As many as a message may bring. */
#define PULL_MAX UINT32_C(16)
#define PULL_TIMEOUT_MS UINT32_C(20000)
/* While one reply is read, the next can be on its way. */
#define PULL_CALLS 1

static sd_bus *bus;
static unsigned arg_n_listeners = 1;
static uint16_t arg_first_port = 0; /* 0: the kernel chooses */

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

/* Returns the listener's path, or NULL if somebody else has the port. */
static char *listen_on(const char *delivery, uint16_t port) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path;
        char *listener;
        int r;

        r = sd_bus_call_method(bus, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "Listen", &error, &reply,
                               "ia{sv}i", (int32_t) port, 2, "localAddress", "s", "127.0.0.1", "delivery",
                               "s", delivery, (int32_t) -1);
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

/* As many as were asked for; ports that somebody else has are left out. Returns the last. */
static char *listen_all(const char *delivery) {
        unsigned port = arg_first_port;
        char *last = NULL;

        for (unsigned n = 0; n < arg_n_listeners && port <= UINT16_MAX;) {
                char *listener = listen_on(delivery, (uint16_t) port);

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

static void serve_socket(void) {
        int fd = take_fd(listen_all("socket"), "TakeSocket");

        serve_say_ready();
        serve_listening_socket(fd);
}

static void serve_packet(int channel) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        uint64_t serial;
        struct iovec data = { .iov_base = &serial, .iov_len = sizeof(serial) };
        struct msghdr message = {
                .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
        };
        ssize_t n;
        int fd;

        n = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
        if (n < 0 && errno == EAGAIN) {
                (void) poll(&(struct pollfd) { .fd = channel, .events = POLLIN }, 1, -1);
                return;
        }
        if (n != sizeof(serial) || message.msg_controllen < CMSG_LEN(sizeof(int)))
                serve_fail("The channel has ended", n < 0 ? errno : EPIPE);

        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        serve_connection(fd);
        (void) close(fd);
}

static void serve_channel(void) {
        int channel = take_fd(listen_all("channel"), "OpenChannel");

        serve_say_ready();
        for (;;)
                serve_packet(channel);
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

/* Not a call that waits for the reply: the service's Pings have to be answered meanwhile. */
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

/* The same from "bench-bare send", so that the two differ by the sender alone. */
static void serve_bare_signals(void) {
        const char *name;
        int r;

        subscribe();
        r = sd_bus_get_unique_name(bus, &name);
        if (r < 0)
                serve_fail("Cannot find out the own name", r);
        puts(name);
        receive();
}

int main(int argc, char *argv[]) {
        static const struct {
                const char *name;
                void (*serve)(void);
        } ways[] = {
                { "signal", serve_signals }, { "pull", serve_pull },         { "channel", serve_channel },
                { "socket", serve_socket },  { "bare", serve_bare_signals },
        };
        int r;

        (void) signal(SIGPIPE, SIG_IGN);

        if (argc > 2)
                arg_n_listeners = (unsigned) strtoul(argv[2], NULL, 10);
        if (argc > 3)
                arg_first_port = (uint16_t) strtoul(argv[3], NULL, 10);

        r = sd_bus_open_system(&bus);
        if (r < 0)
                serve_fail("Cannot connect to the bus", r);

        for (size_t i = 0; argc > 1 && i < ELEMENTS(ways); i++)
                if (streq(argv[1], ways[i].name))
                        ways[i].serve();

        fprintf(stderr, "Usage: %s signal|pull|channel|socket|bare [N [PORT]]\n", argv[0]);
        return EXIT_FAILURE;
}
