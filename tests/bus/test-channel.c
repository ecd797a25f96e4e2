/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "channel": its packets, its flow control, and its end. */

#include <arpa/inet.h>

#include "bus/fixture.h"

typedef struct Channel {
        Fixture *f;
        char *listener;
        uint16_t port;
        int fd;
        int peers[256];
        unsigned n_peers;
        unsigned n_received;
} Channel;

static void channel_done(Channel *c) {
        close_fd(c->fd);
        for (unsigned i = 0; i < c->n_peers; i++)
                close_fd(c->peers[i]);
        g_free(c->listener);
}

/* With these options of Listen, and NULL. */
#define channel_listen(f, ...) channel_new(f, test_listen((f)->client, 0, -1, TEST_CHANNEL, __VA_ARGS__))

static Channel channel_new(Fixture *f, char *listener) {
        return (Channel) {
                .f = f, .fd = -EBADF, .listener = listener, .port = test_get_port(f->client, listener)
        };
}

static void channel_take(Channel *c) {
        c->fd = test_listener_call_fd(c->f->client, c->listener, "OpenChannel");
}

static Channel channel_open(Fixture *f) {
        Channel c = channel_listen(f, NULL);

        channel_take(&c);
        return c;
}

static void channel_connect(Channel *c, unsigned n) {
        g_assert_cmpuint(c->n_peers + n, <=, ELEMENTS(c->peers));
        for (; n > 0; n--) {
                int fd = test_connect("::1", c->port);

                test_send(fd, &c->n_peers, sizeof(c->n_peers));
                c->peers[c->n_peers++] = fd;
        }
}

static void channel_expect(Channel *c, unsigned n) {
        for (; n > 0; n--) {
                uint64_t serial = 0;
                _cleanup_close_ int fd = test_channel_receive(c->fd, &serial);
                unsigned number;

                must(fd);
                g_assert_cmpuint(serial, ==, c->n_received + 1);
                test_receive(fd, &number, sizeof(number));
                g_assert_cmpuint(number, ==, c->n_received);
                test_assert_connected(fd, c->peers[number]);
                c->n_received++;
        }
}

static void channel_assert_end(Channel *c) {
        uint64_t serial;

        g_assert_cmpint(test_channel_receive(c->fd, &serial), ==, -1);
}

static void channel_assert_counters(Channel *c, uint64_t accepted, uint64_t delivered) {
        test_wait_for(test_get_u64(c->f->client, c->listener, "Accepted") >= accepted &&
                      test_get_u64(c->f->client, c->listener, "Delivered") >= delivered);
        for (unsigned i = 0; i < 3; i++)
                test_client_sync_service(c->f->client);
        g_assert_cmpuint(test_get_u64(c->f->client, c->listener, "Accepted"), ==, accepted);
        g_assert_cmpuint(test_get_u64(c->f->client, c->listener, "Delivered"), ==, delivered);
        g_assert_cmpuint(test_get_u64(c->f->client, c->listener, "Lost"), ==, 0);
}

static void channel_assert_closed(Channel *c, const char *reason) {
        g_autoptr(TestNotice) closed = test_client_wait_closed(c->f->client);

        g_assert_cmpstr(closed->listener, ==, c->listener);
        g_assert_cmpstr(closed->reason, ==, reason);
        g_assert_false(test_service_is_listening(c->f->service, c->port));
}

#define ALREADY_TAKEN "org.example.TCPServerSocket.Error.AlreadyTaken"

/* So many connections a channel holds. */
#define UNREAD_MAX 64U

/* With room for more than there must be. Returns the number of connections. */
static unsigned receive_bytes(int channel, char bytes[static 4096], int fds[static 64]) {
        union {
                struct cmsghdr header;
                char space[512];
        } control = {};
        struct iovec iov = { .iov_base = bytes, .iov_len = 4096 };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *rights;

        (void) test_wait_fd(channel, POLLIN);
        ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT);
        g_assert_cmpint(n, >, 0);
        g_assert_cmpint(n % 64, ==, 0);
        g_assert_cmpint(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC), ==, 0);

        rights = CMSG_FIRSTHDR(&message);
        g_assert_nonnull(rights);
        g_assert_cmpint(rights->cmsg_level, ==, SOL_SOCKET);
        g_assert_cmpint(rights->cmsg_type, ==, SCM_RIGHTS);
        g_assert_cmpuint(rights->cmsg_len, ==, CMSG_LEN((size_t) n / 64 * sizeof(int)));
        g_assert_null(CMSG_NXTHDR(&message, rights));
        memcpy(fds, CMSG_DATA(rights), (size_t) n / 64 * sizeof(int));
        return (unsigned) n / 64;
}

/* Compares 28 bytes with an address, an IPv4 one if it has no colon. */
static void assert_address(const char *bytes, const char *address, uint16_t port) {
        union {
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                char bytes[28];
        } expected = {};

        if (strchr(address, ':')) {
                expected.in6.sin6_family = AF_INET6;
                expected.in6.sin6_port = htons(port);
                g_assert_cmpint(inet_pton(AF_INET6, address, &expected.in6.sin6_addr), ==, 1);
        } else {
                expected.in.sin_family = AF_INET;
                expected.in.sin_port = htons(port);
                g_assert_cmpint(inet_pton(AF_INET, address, &expected.in.sin_addr), ==, 1);
        }
        g_assert_cmpmem(bytes, 28, expected.bytes, 28);
}

TEST("a packet has the serial, the addresses and the connection") {
        static const struct {
                const char *bound, *address;
                bool non_blocking;
        } cases[] = {
                { "127.0.0.1", "127.0.0.1", false },
                { "0.0.0.0", "127.0.0.1", true },
                { "::1", "::1", false },
                { "::", "::1", true },
                { "::", "127.0.0.1", false },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(channel_done)
                                Channel c = channel_listen(f, "localAddress", "s", cases[i].bound,
                                                           "nonBlocking", "b", cases[i].non_blocking, NULL);
                _cleanup_close_ int peer = -EBADF;
                uint64_t serial;
                char bytes[4096];
                int fds[64];

                channel_take(&c);
                g_assert_cmpint(test_get_socket_option(c.fd, SOL_SOCKET, SO_DOMAIN), ==, AF_UNIX);
                g_assert_cmpint(test_get_socket_option(c.fd, SOL_SOCKET, SO_TYPE), ==, SOCK_SEQPACKET);
                g_assert_cmpint(fcntl(c.fd, F_GETFL) & O_NONBLOCK, ==, 0);

                for (serial = 1; serial <= 2; serial++) {
                        peer = close_fd(peer);
                        peer = test_connect(cases[i].address, c.port);
                        g_assert_cmpuint(receive_bytes(c.fd, bytes, fds), ==, 1);
                        g_assert_cmpmem(bytes, 8, &serial, 8);
                        assert_address(bytes + 8, cases[i].address, test_local_port(peer));
                        assert_address(bytes + 36, cases[i].address, c.port);
                        g_assert_cmpint(fcntl(fds[0], F_GETFL) & O_NONBLOCK, ==,
                                        cases[i].non_blocking ? O_NONBLOCK : 0);
                        test_assert_connected(peer, fds[0]);
                        (void) close(fds[0]);
                }
        }
}

/* getpeername() fails for such a connection. */
TEST("a packet has the addresses also if the peer has reset the connection") {
        struct sockaddr_storage storage;
        socklen_t size = sizeof(storage);
        char bytes[4096];
        int fds[64], peer;

        _cleanup_(channel_done) Channel c = channel_listen(f, NULL);
        peer = test_connect("::1", c.port);
        uint16_t peer_port = test_local_port(peer);
        test_send(peer, "last words", 10);
        test_reset(peer);

        channel_take(&c);
        g_assert_cmpuint(receive_bytes(c.fd, bytes, fds), ==, 1);
        g_assert_cmpint(getpeername(fds[0], (struct sockaddr *) &storage, &size), <, 0);
        assert_address(bytes + 8, "::1", peer_port);
        assert_address(bytes + 36, "::1", c.port);
        test_expect(fds[0], "last words");
        (void) close(fds[0]);
}

TEST("nothing is accepted before the channel is open") {
        _cleanup_(channel_done) Channel c = channel_listen(f, NULL);
        channel_connect(&c, 5);
        channel_assert_counters(&c, 0, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 5);

        channel_take(&c);
        channel_expect(&c, 5);
        channel_assert_counters(&c, 5, 5);
}

TEST("a channel can be opened once") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        test_assert_text(test_listener_call_fails(f->client, c.listener, "OpenChannel"), ALREADY_TAKEN);
        channel_connect(&c, 1);
        channel_expect(&c, 1);
        test_assert_text(test_listener_call_fails(f->client, c.listener, "OpenChannel"), ALREADY_TAKEN);
}

/* The other connections stay in the queue of the kernel. */
TEST("a full channel stops accepting until it is read") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        unsigned fds = test_service_count_fds(f->service);
        channel_connect(&c, UNREAD_MAX + 36);
        channel_assert_counters(&c, UNREAD_MAX, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 36);
        g_assert_cmpuint(test_service_count_fds(f->service), <=, fds);

        /* One read, one more accepted: no more, no less. */
        for (unsigned i = 1; i <= 3; i++) {
                channel_expect(&c, 1);
                channel_assert_counters(&c, UNREAD_MAX + i, i);
        }
        channel_expect(&c, 20);
        channel_assert_counters(&c, UNREAD_MAX + 23, 23);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 13);

        channel_connect(&c, 100);
        channel_expect(&c, 177);
        channel_assert_counters(&c, 200, 200);
}

/* --- Several connections in a packet --- */

#define BATCH_MAX CHANNEL_BATCH_MAX

static Channel channel_open_batches(Fixture *f, unsigned batch) {
        Channel c = channel_listen(f, TEST_PERSISTENT, "channelBatch", "u", batch, NULL);

        channel_take(&c);
        return c;
}

/* The service accepts these connections in a row. */
static void channel_connect_at_once(Channel *c, unsigned n) {
        test_listener_call(c->f->client, c->listener, "Pause");
        channel_connect(c, n);
        test_listener_call(c->f->client, c->listener, "Resume");
}

/* Receives one packet of this size. */
static void channel_expect_packet(Channel *c, unsigned n) {
        ChannelRecord records[BATCH_MAX];
        int fds[BATCH_MAX];

        g_assert_cmpuint(test_channel_receive_packet(c->fd, records, fds, ELEMENTS(fds)), ==, n);
        for (unsigned i = 0; i < n; i++) {
                unsigned number;

                g_assert_cmpuint(records[i].serial, ==, c->n_received + 1);
                g_assert_cmpuint(ntohs(records[i].remote.in6.sin6_port), ==,
                                 test_local_port(c->peers[c->n_received]));
                test_receive(fds[i], &number, sizeof(number));
                g_assert_cmpuint(number, ==, c->n_received);
                test_assert_connected(fds[i], c->peers[number]);
                (void) close(fds[i]);
                c->n_received++;
        }
}

static bool channel_has_packet(const Channel *c) {
        return test_has_input(c->fd);
}

TEST("a packet has up to channelBatch connections") {
        for (unsigned batch = 1; batch <= BATCH_MAX; batch = batch * 2 + 1) {
                unsigned n = BATCH_MAX + 1;

                _cleanup_(channel_done) Channel c = channel_open_batches(f, batch);
                channel_connect_at_once(&c, n);
                for (; n > 0; n -= MIN(n, batch))
                        channel_expect_packet(&c, MIN(n, batch));
                channel_assert_counters(&c, BATCH_MAX + 1, BATCH_MAX + 1);
                /* A connection does not wait for others. */
                channel_connect(&c, 1);
                channel_expect_packet(&c, 1);
        }
}

/* Read or not, a packet counts as a whole. */
TEST("all connections of a packet count as delivered, or none") {
        _cleanup_(channel_done) Channel c = channel_open_batches(f, BATCH_MAX);
        channel_connect_at_once(&c, 2 * BATCH_MAX + 7);
        channel_assert_counters(&c, 2 * BATCH_MAX, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 7);

        channel_expect_packet(&c, BATCH_MAX);
        channel_assert_counters(&c, 2 * BATCH_MAX + 7, BATCH_MAX);
        channel_expect_packet(&c, BATCH_MAX);
        channel_assert_counters(&c, 2 * BATCH_MAX + 7, 2 * BATCH_MAX);
        channel_expect_packet(&c, 7);
        channel_assert_counters(&c, 2 * BATCH_MAX + 7, 2 * BATCH_MAX + 7);
        g_assert_false(channel_has_packet(&c));
}

TEST("packets of different sizes are counted one by one") {
        static const unsigned sizes[] = { 1, 9, 2, 17, 1, 1, 24, 3, 1, 32 };
        unsigned unread = 0, accepted = 0, read = 0;

        _cleanup_(channel_done) Channel c = channel_open_batches(f, BATCH_MAX);
        for (size_t i = 0; i < ELEMENTS(sizes); i++) {
                /* So many that the next packet has room. */
                for (; unread > UNREAD_MAX - BATCH_MAX; read++) {
                        channel_expect_packet(&c, sizes[read]);
                        unread -= sizes[read];
                        channel_assert_counters(&c, accepted, c.n_received);
                }
                channel_connect_at_once(&c, sizes[i]);
                unread += sizes[i];
                accepted += sizes[i];
                channel_assert_counters(&c, accepted, c.n_received);
        }
        for (; read < ELEMENTS(sizes); read++) {
                channel_expect_packet(&c, sizes[read]);
                channel_assert_counters(&c, accepted, c.n_received);
        }
}

TEST("unread packets of different sizes are lost with the channel") {
        static const unsigned sizes[] = { 3, 9, 12, 1, 7 };

        _cleanup_(channel_done) Channel c = channel_open_batches(f, BATCH_MAX);
        for (size_t i = 0; i < ELEMENTS(sizes); i++)
                channel_connect_at_once(&c, sizes[i]);
        channel_assert_counters(&c, 32, 0);
        channel_expect_packet(&c, 3);
        channel_expect_packet(&c, 9);
        channel_assert_counters(&c, 32, 12);
        c.fd = close_fd(c.fd);

        for (unsigned i = 12; i < 32; i++) {
                g_autoptr(TestError) error = test_client_wait_error(f->client);
                g_autofree char *port = g_strdup_printf("port %u lost", test_local_port(c.peers[i]));

                g_assert_nonnull(strstr(error->message, port));
                (void) test_wait_end(c.peers[i]);
        }
        g_assert_cmpuint(test_get_u64(f->client, c.listener, "Lost"), ==, 20);
        g_assert_cmpuint(test_get_u64(f->client, c.listener, "Delivered"), ==, 12);

        /* The next channel begins without them. */
        channel_connect(&c, 1);
        channel_take(&c);
        c.n_received = 32;
        channel_expect_packet(&c, 1);
        test_wait_for(test_get_u64(f->client, c.listener, "Delivered") == 13);
}

TEST("a channel delivers while its client does not read the bus") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        test_client_set_stalled(f->client, true);
        for (unsigned i = 0; i < 10; i++) {
                channel_connect(&c, 20);
                channel_expect(&c, 20);
        }
        test_client_set_stalled(f->client, false);
        channel_assert_counters(&c, 200, 200);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}

TEST("Pause and Resume apply to channels") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 2);
        channel_expect(&c, 2);
        test_listener_call(f->client, c.listener, "Pause");
        channel_connect(&c, 4);
        channel_assert_counters(&c, 2, 2);
        g_assert_cmpuint(test_service_count_queued(f->service, c.port), ==, 4);
        test_listener_call(f->client, c.listener, "Resume");
        channel_expect(&c, 4);
        channel_assert_counters(&c, 6, 6);
}

/* --- The end --- */

TEST("closing the channel closes the listener and its unread connections") {
        unsigned fds = test_service_count_fds(f->service);
        uint64_t serial;

        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 10);
        _cleanup_close_ int taken = test_channel_receive(c.fd, &serial);
        c.n_received++;
        channel_expect(&c, 2);
        channel_assert_counters(&c, 10, 3);
        c.fd = close_fd(c.fd);

        /* Each unread connection is closed and reported. */
        for (unsigned i = 0; i < 7; i++) {
                g_autoptr(TestError) error = test_client_wait_error(f->client);

                g_assert_cmpstr(error->listener, ==, c.listener);
                g_assert_nonnull(strstr(error->message, "::1"));
        }
        channel_assert_closed(&c, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 7);
        for (unsigned i = 3; i < 10; i++)
                (void) test_wait_end(c.peers[i]);
        test_receive(taken, &serial, sizeof(unsigned));
        test_assert_connected(taken, c.peers[0]);
        test_wait_for(test_service_count_fds(f->service) == fds);
}

/* No call asks for the counters in between. */
TEST("connections that were read shortly before the channel is closed are not lost") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 8);
        channel_assert_counters(&c, 8, 0);
        channel_expect(&c, 3);
        for (unsigned i = 0; i < 3; i++)
                test_client_sync_service(f->client);
        c.fd = close_fd(c.fd);

        channel_assert_closed(&c, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 5);
}

TEST("closing a channel that was read to its end loses nothing") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 5);
        channel_expect(&c, 5);
        /* At once: the service may not know yet that they were read. */
        c.fd = close_fd(c.fd);
        channel_assert_closed(&c, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
}

/* The service finds several events at once, and the end of the channel is not the first. */
static void close_while_it_sleeps(Channel *c) {
        Fixture *f = c->f;

        c->fd = close_fd(c->fd);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));
}

static bool is_on_bus(TestClient *asker, const char *name) {
        g_autoptr(sd_bus_message) reply = NULL;
        int owned;

        must(sd_bus_call_method(test_client_bus(asker), "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                "org.freedesktop.DBus", "NameHasOwner", NULL, &reply, "s", name));
        g_assert_cmpint(sd_bus_message_read(reply, "b", &owned), >, 0);
        return owned;
}

TEST("a client that leaves and closes its channel loses its unread connections") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *name = g_strdup(test_client_name(f->client));

        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 5);
        channel_assert_counters(&c, 5, 0);

        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        g_clear_pointer(&f->client, test_client_free);
        /* The service has got NameOwnerChanged as well. */
        test_wait_for(!is_on_bus(other, name));
        close_while_it_sleeps(&c);

        test_wait_for(!test_service_is_listening(f->service, c.port));
        for (unsigned i = 0; i < 5; i++) {
                g_autofree char *lost = g_strdup_printf("Connection from ::1 port %u lost",
                                                        test_local_port(c.peers[i]));

                (void) test_wait_end(c.peers[i]);
                test_wait_for(test_service_has_logged(f->service, lost));
        }
}

TEST("closing the channel while a connection arrives loses the unread ones") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 5);
        channel_assert_counters(&c, 5, 0);

        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        channel_connect(&c, 1);
        close_while_it_sleeps(&c);

        channel_assert_closed(&c, "owner");
        /* The last one may have been too late to be accepted. */
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), >=, 5);
        for (unsigned i = 0; i < 6; i++)
                (void) test_wait_end(c.peers[i]);
}

TEST("closing or shutting down an unused channel closes the listener") {
        _cleanup_(channel_done) Channel closed = channel_open(f);
        closed.fd = close_fd(closed.fd);
        channel_assert_closed(&closed, "owner");
        _cleanup_(channel_done) Channel shut_down = channel_open(f);
        g_assert_no_errno(shutdown(shut_down.fd, SHUT_RDWR));
        channel_assert_closed(&shut_down, "owner");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
}

TEST("after Close, the channel can be read to its end") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 6);
        channel_expect(&c, 1);
        channel_assert_counters(&c, 6, 1);
        test_listener_call(f->client, c.listener, "Close");
        channel_assert_closed(&c, "owner");
        channel_expect(&c, 5);
        channel_assert_end(&c);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
}

TEST("after the end of the service, the channel can be read to its end") {
        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 6);
        channel_assert_counters(&c, 6, 0);
        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        channel_expect(&c, 6);
        channel_assert_end(&c);
}

TEST("a channel ends with the owner of its listener") {
        unsigned fds = test_service_count_fds(f->service);

        _cleanup_(channel_done) Channel c = channel_open(f);
        channel_connect(&c, 2);
        channel_expect(&c, 2);
        g_clear_pointer(&f->client, test_client_free);
        channel_assert_end(&c);
        test_wait_for(!test_service_is_listening(f->service, c.port));
        test_wait_for(test_service_count_fds(f->service) <= fds);
        /* It has read both. */
        g_assert_false(test_service_has_logged(f->service, "lost: "));
}

/* More often than a user may have channels at a time. */
TEST("closed channels do not count against MaxChannelsPerUser") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, NULL);

        test_client_sync_service(f->client);
        unsigned fds = test_service_count_fds(f->service);
        for (unsigned i = 0; i < 70; i++) {
                int channel = test_listener_call_fd(f->client, listener, "OpenChannel");

                (void) close_fd(channel);
                test_wait_for(test_service_count_fds(f->service) <= fds);
        }
}

/* After a restart, a program opens another channel of its listener. */
TEST("a persistent listener outlives its channel") {
        _cleanup_(channel_done) Channel c = channel_listen(f, TEST_PERSISTENT, NULL);

        channel_take(&c);
        for (unsigned i = 0; i < 3; i++) {
                channel_connect(&c, 2);
                channel_expect(&c, 2);
                channel_assert_counters(&c, c.n_peers, c.n_peers);

                /* The kernel closes the descriptors of a process in any order. */
                if (i % 2 == 0)
                        c.fd = close_fd(c.fd);
                test_client_free(f->client);
                c.fd = close_fd(c.fd);
                f->client = test_client_new(f->bus, (uid_t) -1);
                test_wait_for(!test_has_owner(f->client, c.listener));

                channel_connect(&c, 2);
                channel_assert_counters(&c, c.n_peers - 2, c.n_peers - 2);
                test_listener_call(f->client, c.listener, "Adopt");
                channel_take(&c);
                channel_expect(&c, 2);
        }
}

TEST("a channel of a persistent listener without an owner works") {
        _cleanup_(channel_done) Channel c = channel_listen(f, TEST_PERSISTENT, NULL);

        test_client_free(f->client);
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_wait_for(!test_has_owner(f->client, c.listener));
        channel_connect(&c, 2);
        channel_assert_counters(&c, 0, 0);

        channel_take(&c);
        channel_expect(&c, 2);
        channel_connect(&c, 2);
        channel_expect(&c, 2);
        channel_assert_counters(&c, 4, 4);

        /* An owner that comes and goes does not affect the channel. */
        {
                TestClient *owner = test_client_new(f->bus, (uid_t) -1);

                test_listener_call(owner, c.listener, "Adopt");
                test_client_free(owner);
                test_wait_for(!test_has_owner(f->client, c.listener));
        }
        channel_connect(&c, 2);
        channel_expect(&c, 2);
}
