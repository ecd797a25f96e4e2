/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "channel": what it carries, and when. */

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "bus/channel.h"
#include "bus/kernel.h"

#define ALREADY_TAKEN "org.example.TCPServerSocket.Error.AlreadyTaken"

/* So many packets a channel holds. */
#define UNREAD_MAX 64U

/* With room for more than there must be. */
static int receive_packet(int channel, uint64_t *ret_serial) {
        union {
                struct cmsghdr header;
                char space[256];
        } control = {};
        char payload[64];
        struct iovec iov = { .iov_base = payload, .iov_len = sizeof(payload) };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *rights;
        int fd;

        (void) test_wait_fd(channel, POLLIN);
        g_assert_cmpint(recvmsg(channel, &message, MSG_DONTWAIT), ==, sizeof(*ret_serial));
        memcpy(ret_serial, payload, sizeof(*ret_serial));

        rights = CMSG_FIRSTHDR(&message);
        g_assert_nonnull(rights);
        g_assert_cmpint(rights->cmsg_level, ==, SOL_SOCKET);
        g_assert_cmpint(rights->cmsg_type, ==, SCM_RIGHTS);
        g_assert_cmpuint(rights->cmsg_len, ==, CMSG_LEN(sizeof(int)));
        g_assert_null(CMSG_NXTHDR(&message, rights));
        memcpy(&fd, CMSG_DATA(rights), sizeof(fd));
        return fd;
}

TEST("a packet is a serial and a connection") {
        for (int non_blocking = 0; non_blocking <= 1; non_blocking++) {
                Channel c = { .f = f };
                _cleanup_close_ int fd = -EBADF;
                unsigned number;
                uint64_t serial;

                c.listener = test_listen(f->client, 0, -1, CHANNEL, "nonBlocking", "b", non_blocking, NULL);
                c.port = test_get_port(f->client, c.listener);
                c.fd = test_listener_call_fd(f->client, c.listener, "OpenChannel");
                g_assert_cmpint(test_get_socket_option(c.fd, SOL_SOCKET, SO_DOMAIN), ==, AF_UNIX);
                g_assert_cmpint(test_get_socket_option(c.fd, SOL_SOCKET, SO_TYPE), ==, SOCK_SEQPACKET);
                g_assert_cmpint(fcntl(c.fd, F_GETFL) & O_NONBLOCK, ==, 0);

                channel_connect(&c, 1);
                fd = receive_packet(c.fd, &serial);
                g_assert_cmpuint(serial, ==, 1);
                g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, non_blocking ? O_NONBLOCK : 0);
                test_receive(fd, &number, sizeof(number));
                test_assert_connected(c.peers[0], fd);
                channel_done(&c);
        }
}

TEST("nothing is accepted before it is open") {
        Channel c;

        channel_listen(&c, f);
        channel_connect(&c, 5);
        channel_assert_counters(&c, 0, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 5);

        c.fd = test_listener_call_fd(f->client, c.listener, "OpenChannel");
        channel_receive(&c, 5);
        channel_assert_counters(&c, 5, 5);
        channel_done(&c);
}

TEST("it is opened once") {
        g_autofree char *again = NULL, *after = NULL;
        Channel c;

        channel_open(&c, f);
        again = test_listener_call_fails(f->client, c.listener, "OpenChannel");
        g_assert_cmpstr(again, ==, ALREADY_TAKEN);
        channel_connect(&c, 1);
        channel_receive(&c, 1);
        after = test_listener_call_fails(f->client, c.listener, "OpenChannel");
        g_assert_cmpstr(after, ==, ALREADY_TAKEN);
        channel_done(&c);
}

/* The kernel has what the channel has no room for. */
TEST("when it is full, accepting stops until it is read") {
        unsigned fds;
        Channel c;

        channel_open(&c, f);
        fds = test_service_count_fds(f->service);
        channel_connect(&c, UNREAD_MAX + 36);
        channel_assert_counters(&c, UNREAD_MAX, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 36);
        g_assert_cmpuint(test_service_count_fds(f->service), <=, fds);

        /* One read, one more accepted: no more, no less. */
        for (unsigned i = 1; i <= 3; i++) {
                channel_receive(&c, 1);
                channel_assert_counters(&c, UNREAD_MAX + i, i);
        }
        channel_receive(&c, 20);
        channel_assert_counters(&c, UNREAD_MAX + 23, 23);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 13);

        channel_connect(&c, 100);
        channel_receive(&c, 177);
        channel_assert_counters(&c, 200, 200);
        channel_done(&c);
}

/* It needs no bus, and so no answers to Pings. */
TEST("it needs no bus") {
        Channel c;

        channel_open(&c, f);
        test_client_set_stalled(f->client, true);
        for (unsigned i = 0; i < 10; i++) {
                channel_connect(&c, 20);
                channel_receive(&c, 20);
        }
        test_client_set_stalled(f->client, false);
        channel_assert_counters(&c, 200, 200);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
        channel_done(&c);
}

TEST("it can be paused") {
        Channel c;

        channel_open(&c, f);
        channel_connect(&c, 2);
        channel_receive(&c, 2);
        test_listener_call(f->client, c.listener, "Pause");
        channel_connect(&c, 4);
        channel_assert_counters(&c, 2, 2);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 4);
        test_listener_call(f->client, c.listener, "Resume");
        channel_receive(&c, 4);
        channel_assert_counters(&c, 6, 6);
        channel_done(&c);
}

/* What a client writes is nobody's business. */
TEST("what is written into it is ignored") {
        uint64_t before;
        Channel c;

        channel_open(&c, f);
        for (unsigned i = 0; i < 50; i++)
                g_assert_cmpint(send(c.fd, "hello", 5, MSG_DONTWAIT), ==, 5);
        before = test_service_cpu_time(f->service);
        channel_connect(&c, 20);
        channel_receive(&c, 20);
        channel_assert_counters(&c, 20, 20);
        g_assert_cmpuint(test_service_cpu_time(f->service) - before, <, 1000000);
        channel_done(&c);
}
