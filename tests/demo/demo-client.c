/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A client of org.example.TCPServerSocket that sends back to every peer what the peer has said.
 *
 * It shows what a client has to do: subscribe, then call Listen, keep the loop running, take each
 * descriptor over from its message. So that there is something to see it brings three peers of its own,
 * says each step in one line, and is done when all three have had their answer and the port is free again.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define BUS_NAME "org.example.TCPServerSocket"
#define MANAGER_PATH "/org/example/TCPServerSocket"
#define MANAGER_INTERFACE "org.example.TCPServerSocket"
#define LISTENER_INTERFACE "org.example.TCPServerSocket.Listener"

#define N_PEERS 3
#define DEADLINE_USEC (UINT64_C(10) * 1000 * 1000)
#define PEER_TIMEOUT_SEC 5

typedef struct Client {
        sd_bus *bus;
        sd_event *event;
        char *service;  /* the unique name of the service's bus connection; NULL: it is not there yet */
        char *listener; /* the object path of our listener; NULL: there is none */
        uint16_t port;
        unsigned n_peers; /* still running */
} Client;

/* One connection that was handed over. */
typedef struct Connection {
        sd_event_source *source;
        size_t n_bytes;
} Connection;

__attribute__((format(printf, 2, 3))) static void say(const char *who, const char *format, ...) {
        va_list ap;

        printf("%-8s ", who);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
}

/* Ends the program; what was going on does not matter any more. Returns 0, as callbacks do. */
static int give_up(Client *client, const char *what, const char *why) {
        say("client", "%s: %s", what, why);
        (void) sd_event_exit(client->event, EXIT_FAILURE);
        return 0;
}

/* --- The peers: processes that know TCP and nothing else --- */

static struct sockaddr_in loopback(uint16_t port) {
        return (struct sockaddr_in) {
                .sin_family = AF_INET,
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                .sin_port = htons(port),
        };
}

static int run_peer(unsigned number, uint16_t port) {
        struct sockaddr_in there = loopback(port), here = loopback(0);
        const struct timeval timeout = { .tv_sec = PEER_TIMEOUT_SEC };
        socklen_t size = sizeof(here);
        char who[32], text[64], answer[128];
        size_t length, n_answer = 0;
        ssize_t n;
        int fd;

        (void) snprintf(who, sizeof(who), "peer %u", number);
        length = (size_t) snprintf(text, sizeof(text), "Greetings from peer number %u!", number);

        /* Bound before it connects, so that it can say where it comes from before anybody else does. */
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0 ||
            bind(fd, (struct sockaddr *) &here, size) < 0 ||
            getsockname(fd, (struct sockaddr *) &here, &size) < 0) {
                say(who, "Cannot make a socket: %s", strerror(errno));
                return EXIT_FAILURE;
        }

        say(who, "Connects to port %" PRIu16 " from port %" PRIu16 " and sends %zu bytes: \"%s\"", port,
            ntohs(here.sin_port), length, text);
        if (connect(fd, (struct sockaddr *) &there, sizeof(there)) < 0 ||
            send(fd, text, length, MSG_NOSIGNAL) != (ssize_t) length || shutdown(fd, SHUT_WR) < 0) {
                say(who, "Cannot connect and send: %s", strerror(errno));
                return EXIT_FAILURE;
        }

        while ((n = recv(fd, answer + n_answer, sizeof(answer) - n_answer, 0)) > 0)
                n_answer += (size_t) n;
        if (n < 0) {
                say(who, "Got no answer: %s", strerror(errno));
                return EXIT_FAILURE;
        }

        if (n_answer != length || memcmp(answer, text, length) != 0) {
                say(who, "Got %zu bytes back, which are not the ones it sent", n_answer);
                return EXIT_FAILURE;
        }

        say(who, "Got the same %zu bytes back", n_answer);
        return EXIT_SUCCESS;
}

/* --- After the last peer: close the listener and see that nobody can connect any more --- */

static int on_close_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        struct sockaddr_in there = loopback(client->port);
        const sd_bus_error *error;
        int fd;

        error = sd_bus_message_get_error(reply);
        if (error)
                return give_up(client, "Close failed", error->message);

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return give_up(client, "Cannot make a socket", strerror(errno));
        if (connect(fd, (struct sockaddr *) &there, sizeof(there)) == 0)
                return give_up(client, "After Close", "the port still takes connections");
        say("client", "Close returned; one more peer at port %" PRIu16 " gets: %s", client->port,
            strerror(errno));
        (void) close(fd);

        return sd_event_exit(client->event, EXIT_SUCCESS);
}

static int on_peer_exit(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Client *client = userdata;
        int r;

        if (info->si_code != CLD_EXITED || info->si_status != EXIT_SUCCESS)
                return give_up(client, "A peer failed", "see above");

        client->n_peers--;
        if (client->n_peers > 0)
                return 0;

        say("client", "Calls Close");
        r = sd_bus_call_method_async(client->bus, NULL, BUS_NAME, client->listener, LISTENER_INTERFACE,
                                     "Close", on_close_reply, client, NULL);
        if (r < 0)
                return give_up(client, "Cannot call Close", strerror(-r));

        return 0;
}

static int start_peer(Client *client, unsigned number) {
        pid_t pid;

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                _exit(run_peer(number, client->port));
        }

        client->n_peers++;
        return sd_event_add_child(client->event, NULL, pid, WEXITED, on_peer_exit, client);
}

/* --- The connections --- */

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Connection *connection = userdata;
        char buffer[4096];
        ssize_t n;

        n = read(fd, buffer, sizeof(buffer));
        if (n > 0 && send(fd, buffer, (size_t) n, MSG_NOSIGNAL) == n) {
                connection->n_bytes += (size_t) n;
                return 0;
        }

        if (n == 0)
                say("client", "Sent %zu bytes back through descriptor %i, then the peer was done",
                    connection->n_bytes, fd);
        else
                say("client", "Descriptor %i: %s", fd, strerror(errno));

        (void) sd_event_source_disable_unref(connection->source);
        (void) close(fd);
        free(connection);
        return 0;
}

static int serve(Client *client, int fd) {
        Connection *connection;
        int r;

        connection = calloc(1, sizeof(*connection));
        if (!connection)
                return -ENOMEM;

        r = sd_event_add_io(client->event, &connection->source, fd, EPOLLIN, on_readable, connection);
        if (r < 0)
                free(connection);
        return r;
}

static int read_serial(sd_bus_message *m, uint64_t *ret) {
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;

                if (strcmp(key, "serial") == 0)
                        r = sd_bus_message_read(m, "v", "t", ret);
                else
                        r = sd_bus_message_skip(m, "v");
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        return sd_bus_message_exit_container(m);
}

static int on_accept_socket(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        const char *listener, *address;
        uint64_t serial = 0;
        uint16_t port;
        int fd, r;

        r = sd_bus_message_read(m, "ohsq", &listener, &fd, &address, &port);
        if (r >= 0)
                r = read_serial(m, &serial);
        if (r < 0)
                return give_up(client, "Cannot read AcceptSocket", strerror(-r));

        /* The message owns its descriptor and closes it in the end. What shall remain has to be a copy. */
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return give_up(client, "Cannot keep the connection", strerror(errno));

        say("client", "AcceptSocket: connection %" PRIu64 " from %s port %" PRIu16 " is descriptor %i here",
            serial, address, port, fd);

        r = serve(client, fd);
        if (r < 0) {
                (void) close(fd);
                return give_up(client, "Cannot serve the connection", strerror(-r));
        }

        return 0;
}

static int on_error(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        const char *listener, *message, *filename;
        uint32_t line, column;
        int r;

        r = sd_bus_message_read(m, "ossuu", &listener, &message, &filename, &line, &column);
        if (r < 0)
                return give_up(client, "Cannot read Error", strerror(-r));

        say("client", "Error: %s (%s:%" PRIu32 ")", message, filename, line);
        return 0;
}

static int on_closed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        const char *listener, *reason;
        int r;

        r = sd_bus_message_read(m, "os", &listener, &reason);
        if (r < 0)
                return give_up(client, "Cannot read Closed", strerror(-r));

        say("client", "Closed: %s, reason \"%s\"", listener, reason);
        return 0;
}

/* --- Listening --- */

static int on_listen_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        const sd_bus_error *error;
        const char *listener;
        unsigned i;
        int r;

        error = sd_bus_message_get_error(reply);
        if (error)
                return give_up(client, "Listen failed", error->message);

        r = sd_bus_message_read(reply, "o", &listener);
        if (r >= 0)
                r = sd_bus_get_property_trivial(client->bus, BUS_NAME, listener, LISTENER_INTERFACE,
                                                "LocalPort", NULL, 'q', &client->port);
        if (r < 0)
                return give_up(client, "Cannot find out the port", strerror(-r));

        client->listener = strdup(listener);
        if (!client->listener)
                return give_up(client, "Cannot keep the path", strerror(ENOMEM));
        say("client", "Listen returned %s; the kernel chose port %" PRIu16, listener, client->port);

        for (i = 1; i <= N_PEERS; i++) {
                r = start_peer(client, i);
                if (r < 0)
                        return give_up(client, "Cannot start a peer", strerror(-r));
        }

        return 0;
}

static int on_service(Client *client, const char *service) {
        const struct {
                const char *member;
                sd_bus_message_handler_t handler;
        } signals[] = {
                { "AcceptSocket", on_accept_socket },
                { "Error", on_error },
                { "Closed", on_closed },
        };
        size_t i;
        int r;

        client->service = strdup(service);
        if (!client->service)
                return give_up(client, "Cannot keep the service's name", strerror(ENOMEM));
        say("client", "Found the service on the bus: %s is %s", BUS_NAME, service);

        /* Before Listen, or a signal could be missed. The sender is a unique name because sd-bus cannot tell
         * which sender is behind a well-known one, and anybody can send a signal. */
        for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
                r = sd_bus_match_signal(client->bus, NULL, service, MANAGER_PATH, MANAGER_INTERFACE,
                                        signals[i].member, signals[i].handler, client);
                if (r < 0)
                        return give_up(client, "Cannot subscribe", strerror(-r));
        }

        /* Not a call that waits for the reply: the loop goes on meanwhile and answers the service's Pings,
         * which sd-bus does by itself. */
        say("client", "Calls Listen for a port of 127.0.0.1 that the kernel chooses");
        r = sd_bus_call_method_async(client->bus, NULL, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE, "Listen",
                                     on_listen_reply, client, "ia{sv}i", -1, 2, "localAddress", "s",
                                     "127.0.0.1", "name", "s", "demo", -1);
        if (r < 0)
                return give_up(client, "Cannot call Listen", strerror(-r));

        return 0;
}

static int on_name_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        const char *name, *old_owner, *new_owner;
        int r;

        r = sd_bus_message_read(m, "sss", &name, &old_owner, &new_owner);
        if (r < 0)
                return give_up(client, "Cannot read NameOwnerChanged", strerror(-r));

        if (!client->service && *new_owner)
                return on_service(client, new_owner);
        if (client->service && strcmp(client->service, new_owner) != 0)
                return give_up(client, "Cannot go on", "the service has left the bus");

        return 0;
}

static int on_name_owner(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Client *client = userdata;
        const char *owner;
        int r;

        /* An error: it is not there yet, and NameOwnerChanged will tell when it is. */
        if (client->service || sd_bus_message_is_method_error(reply, NULL))
                return 0;

        r = sd_bus_message_read(reply, "s", &owner);
        if (r < 0)
                return give_up(client, "Cannot read the service's name", strerror(-r));

        return on_service(client, owner);
}

static int look_for_service(Client *client) {
        int r;

        r = sd_bus_add_match(client->bus, NULL,
                             "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                             "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" BUS_NAME "'",
                             on_name_owner_changed, client);
        if (r < 0)
                return r;

        return sd_bus_call_method_async(client->bus, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                        "org.freedesktop.DBus", "GetNameOwner", on_name_owner, client, "s",
                                        BUS_NAME);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        return give_up(userdata, "Cannot go on", "it takes too long");
}

int main(void) {
        Client client = {};
        sigset_t mask;
        int r;

        /* One line at a time, since the peers write, too. */
        (void) setvbuf(stdout, NULL, _IOLBF, 0);

        /* Blocked, the signal reaches the loop. */
        (void) sigemptyset(&mask);
        (void) sigaddset(&mask, SIGCHLD);
        (void) sigprocmask(SIG_BLOCK, &mask, NULL);

        r = sd_event_default(&client.event);
        if (r >= 0)
                r = sd_bus_open_system(&client.bus);
        if (r >= 0)
                r = sd_bus_attach_event(client.bus, client.event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_event_add_time_relative(client.event, NULL, CLOCK_MONOTONIC, DEADLINE_USEC, 0,
                                               on_deadline, &client);
        if (r >= 0)
                r = look_for_service(&client);
        if (r >= 0)
                r = sd_event_loop(client.event);
        if (r < 0) {
                say("client", "Cannot work with the bus: %s", strerror(-r));
                r = EXIT_FAILURE;
        }

        sd_bus_flush_close_unref(client.bus);
        sd_event_unref(client.event);
        free(client.listener);
        free(client.service);
        return r;
}
