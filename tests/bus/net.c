/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/loop.h"
#include "bus/network.h"

#define SILENCE_MS 1000U

static void resolve(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_length) {
        struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM },
                        *info;
        char service[8];

        g_snprintf(service, sizeof(service), "%u", port);
        int r = getaddrinfo(address, service, &hints, &info);
        if (r != 0)
                g_error("%s: %s", address, gai_strerror(r));
        memcpy(ret, info->ai_addr, info->ai_addrlen);
        *ret_length = info->ai_addrlen;
        freeaddrinfo(info);
}

int test_connect_start(const char *source, const char *address, uint16_t port) {
        struct sockaddr_storage to, from;
        socklen_t length;

        resolve(address, port, &to, &length);
        int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_no_errno(fd);
        if (source) {
                socklen_t from_length;

                resolve(source, 0, &from, &from_length);
                g_assert_no_errno(bind(fd, (struct sockaddr *) &from, from_length));
        }
        if (connect(fd, (struct sockaddr *) &to, length) < 0 && errno != EINPROGRESS) {
                int saved = errno;

                close(fd);
                errno = saved;
                return -1;
        }
        return fd;
}

/* Consumes fd; returns a connected blocking socket, or -1 and errno. */
static int finish_connect(int fd, unsigned milliseconds) {
        uint64_t deadline = test_deadline(milliseconds);
        struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
        socklen_t length = sizeof(int);
        int error = 0, n;

        if (fd < 0)
                return -1;
        /* Most are done at once, without a turn of the loop. */
        while ((n = poll(&poll_fd, 1, 0)) == 0 && test_now() < deadline)
                must(sd_event_run(test_event(), 1000));
        g_assert_no_errno(n);
        if (n == 0)
                error = ETIMEDOUT;
        else
                g_assert_no_errno(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
        if (error != 0) {
                close(fd);
                errno = error;
                return -1;
        }
        g_assert_no_errno(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK));
        return fd;
}

int test_connect_from(const char *source, const char *address, uint16_t port) {
        int fd = finish_connect(test_connect_start(source, address, port), TEST_DEADLINE_MS);

        if (fd < 0)
                g_error("cannot connect to %s port %u: %s", address, port, g_strerror(errno));
        return fd;
}

int test_connect(const char *address, uint16_t port) {
        return test_connect_from(NULL, address, port);
}

int test_connect_from_neighbour(const char *address, uint16_t port) {
        /* A socket stays in the namespace where it was made. */
        test_network_visit_neighbour();
        int fd = test_connect_start(NULL, address, port);
        test_network_return();
        fd = finish_connect(fd, TEST_DEADLINE_MS);
        g_assert_no_errno(fd);
        return fd;
}

int test_connect_fails(const char *address, uint16_t port) {
        int fd = finish_connect(test_connect_start(NULL, address, port), SILENCE_MS);

        if (fd >= 0)
                g_error("%s port %u could be connected to and should not", address, port);
        return errno;
}

static uint16_t get_port(int fd, int (*get_name)(int, struct sockaddr *restrict, socklen_t *restrict)) {
        struct sockaddr_storage address;
        socklen_t length = sizeof(address);

        g_assert_no_errno(get_name(fd, (struct sockaddr *) &address, &length));
        return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &address)->sin6_port
                                                   : ((struct sockaddr_in *) &address)->sin_port);
}

uint16_t test_local_port(int fd) {
        return get_port(fd, getsockname);
}

uint16_t test_remote_port(int fd) {
        return get_port(fd, getpeername);
}

void test_send(int fd, const void *data, size_t size) {
        while (size > 0) {
                ssize_t n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno == EAGAIN) {
                        (void) test_wait_fd(fd, POLLOUT);
                        continue;
                }
                g_assert_no_errno(n);
                data = (const char *) data + n;
                size -= (size_t) n;
        }
}

void test_receive(int fd, void *buffer, size_t size) {
        while (size > 0) {
                ssize_t n = recv(fd, buffer, size, MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN) {
                        (void) test_wait_fd(fd, POLLIN);
                        continue;
                }
                g_assert_no_errno(n);
                g_assert_cmpint(n, >, 0);
                buffer = (char *) buffer + n;
                size -= (size_t) n;
        }
}

void test_expect(int fd, const char *text) {
        size_t size = strlen(text);
        g_autofree char *received = g_malloc0(size + 1);

        test_receive(fd, received, size);
        g_assert_cmpstr(received, ==, text);
}

void test_assert_connected(int a, int b) {
        test_send(a, "to b", 4);
        test_expect(b, "to b");
        test_send(b, "to a", 4);
        test_expect(a, "to a");
}

bool test_has_input(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

bool test_has_ended(int fd) {
        char byte;
        ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK);

        return n == 0 || (n < 0 && errno != EAGAIN && errno != ENOTCONN);
}

bool test_has_echo(int terminal) {
        struct termios modes;

        g_assert_no_errno(tcgetattr(terminal, &modes));
        return modes.c_lflag & ECHO;
}

int test_wait_end(int fd) {
        char buffer[4096];

        for (;;) {
                ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

                if (n == 0)
                        return 0;
                if (n < 0 && errno != EAGAIN)
                        return errno;
                if (n < 0)
                        (void) test_wait_fd(fd, POLLIN);
        }
}

void test_reset(int fd) {
        static const struct linger at_once = { .l_onoff = 1 };

        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
        close_fd(fd);
}

unsigned test_channel_receive_packet(int channel, ChannelRecord *records, int *fds, size_t max) {
        ssize_t n = channel_receive(channel, MSG_DONTWAIT, records, fds, max);
        if (n == -EAGAIN) {
                (void) test_wait_fd(channel, POLLIN);
                n = channel_receive(channel, MSG_DONTWAIT, records, fds, max);
        }
        if (n < 0)
                g_error("Cannot receive a packet: %s", strerror((int) -n));
        return (unsigned) n;
}

int test_channel_receive(int channel, uint64_t *ret_serial) {
        ChannelRecord record;
        int fd;

        if (test_channel_receive_packet(channel, &record, &fd, 1) == 0)
                return -1;

        *ret_serial = record.serial;
        return fd;
}

/* How many sockets of the process's network namespace are at this local port in this state of TCP. */
static unsigned count_sockets(pid_t pid, uint16_t port, unsigned wanted) {
        static const char *const tables[] = { "tcp", "tcp6" };
        unsigned n = 0;

        for (size_t i = 0; i < ELEMENTS(tables); i++) {
                g_autofree char *path = g_strdup_printf("/proc/%d/net/%s", (int) pid, tables[i]),
                                *table = NULL;

                /* No tcp6 where the kernel has no IPv6. */
                if (!g_file_get_contents(path, &table, NULL, NULL))
                        continue;

                g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
                for (char **line = lines; *line; line++) {
                        unsigned local_port, state;

                        if (sscanf(*line, " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &local_port, &state) ==
                                            2 &&
                            local_port == port && state == wanted)
                                n++;
                }
        }
        return n;
}

bool test_is_listening(pid_t pid, uint16_t port) {
        return count_sockets(pid, port, TCP_LISTEN) > 0;
}

unsigned test_count_half_open(uint16_t port) {
        return count_sockets(getpid(), port, TCP_SYN_RECV);
}

uint16_t test_free_port(void) {
        struct sockaddr_in6 address = { .sin6_family = AF_INET6 };
        _cleanup_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_no_errno(fd);
        g_assert_no_errno(bind(fd, (struct sockaddr *) &address, sizeof(address)));
        return test_local_port(fd);
}

unsigned test_count_fds(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int) pid);
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        unsigned n = 0;

        g_assert_nonnull(directory);
        while (g_dir_read_name(directory))
                n++;
        return n;
}
