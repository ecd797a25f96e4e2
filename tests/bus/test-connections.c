/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The data of connections, and the effects of Close. */

#include <sched.h>

#include "bus/fixture.h"

#define CHUNK (64U * 1024 + 3)
#define MUCH (6U * 1024 * 1024)

/* In a network of the test's own; the port that this service is there for. */
#define PORT 80

static cpu_set_t all_processors;

static void receive_some(int fd, uint8_t *received, size_t size, size_t *done) {
        ssize_t n = recv(fd, received + *done, size - *done, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
                (void) test_wait_fd(fd, POLLIN);
                return;
        }
        g_assert_no_errno(n);
        g_assert_cmpint(n, >, 0);
        *done += (size_t) n;
}

/* Reads only when nothing more can be sent, and closes while much is still to be read. */
static void transfer(int *from, int to, size_t size, bool then_close) {
        g_autofree uint8_t *bytes = g_malloc(size), *received = g_malloc0(size);
        size_t n_sent = 0, n_received = 0;

        for (size_t i = 0; i < size; i++)
                bytes[i] = (uint8_t) (i * 167 + (i >> 8) + (i >> 16));

        while (n_sent < size) {
                ssize_t n = send(*from, bytes + n_sent, size - n_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

                if (n < 0 && errno == EAGAIN) {
                        receive_some(to, received, size, &n_received);
                        continue;
                }
                g_assert_no_errno(n);
                n_sent += (size_t) n;
        }
        if (then_close)
                *from = close_fd(*from);

        while (n_received < size)
                receive_some(to, received, size, &n_received);
        if (then_close)
                g_assert_cmpint(test_wait_end(to), ==, 0);
        g_assert_cmpmem(received, size, bytes, size);
}

static void transfer_binary(int from, int to) {
        static const char bytes[] = "\0\1\377\r\n\0\0\200 %\0\376";
        char received[sizeof(bytes)];

        test_send(from, bytes, sizeof(bytes));
        test_receive(to, received, sizeof(received));
        g_assert_cmpmem(received, sizeof(received), bytes, sizeof(bytes));
}

/* At the end the peer, or the client, sends a large block and closes at once. */
static void use_up(int *peer, int *socket, bool peer_closes) {
        transfer_binary(*peer, *socket);
        transfer_binary(*socket, *peer);
        transfer(peer, *socket, CHUNK, false);
        transfer(socket, *peer, CHUNK, false);
        if (peer_closes)
                transfer(peer, *socket, MUCH, true);
        else
                transfer(socket, *peer, MUCH, true);
}

TEST("a connection carries everything, also after Close") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestAccepted *accepted[4];
        int peers[4];

        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                peers[i] = test_connect(i % 2 == 0 ? "127.0.0.1" : "::1", port);
                accepted[i] = test_client_wait_accepted(f->client);
        }

        use_up(&peers[0], &accepted[0]->socket, true);
        use_up(&peers[1], &accepted[1]->socket, false);
        test_listener_call(f->client, listener, "Close");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        use_up(&peers[2], &accepted[2]->socket, true);
        use_up(&peers[3], &accepted[3]->socket, false);

        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                close_fd(peers[i]);
                test_accepted_free(accepted[i]);
        }
}

static void start_close(TestClient *client, const TestAccepted *accepted, void *data) {
        TestCall **close_call = data;

        if (!*close_call)
                *close_call = test_call_start(client, test_message_new(client, accepted->listener,
                                                                       TEST_LISTENER_INTERFACE, "Close"));
}

TEST("a listener may be closed in the handler of its own signal") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        g_autoptr(TestCall) close_call = NULL;
        uint16_t port = test_get_port(f->client, listener);

        test_client_on_accepted(f->client, start_close, &close_call);
        _cleanup_close_ int peer = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        g_assert_null(test_call_error(close_call));
        test_client_expect_closed(f->client, listener, "owner");
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 1);

        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        use_up(&peer, &accepted->socket, false);
}

/* A connection that was reset may arrive, for the client to find that out, or not. */
TEST("peers that disconnect before accept() do not affect others") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PAUSED, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int rude = test_connect("::1", port), polite = test_connect("::1", port),
                            patient = test_connect("::1", port);
        uint16_t rude_port = test_local_port(rude), polite_port = test_local_port(polite);
        bool polite_came = false, patient_came = false;

        test_send(polite, "goodbye", 7);
        polite = close_fd(polite);
        test_reset(TAKE_FD(rude));
        test_listener_call(f->client, listener, "Resume");

        while (!polite_came || !patient_came) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                if (accepted->remote_port == rude_port) {
                        g_assert_cmpint(test_wait_end(accepted->socket), ==, ECONNRESET);
                } else if (accepted->remote_port == polite_port) {
                        test_expect(accepted->socket, "goodbye");
                        g_assert_cmpint(test_wait_end(accepted->socket), ==, 0);
                        polite_came = true;
                } else {
                        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(patient));
                        test_assert_connected(patient, accepted->socket);
                        patient_came = true;
                }
        }

        {
                _cleanup_close_ int next = test_connect("127.0.0.1", port);
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

                test_assert_connected(next, accepted->socket);
        }
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 0);
}

TEST("Close ends undelivered connections") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PAUSED, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));

        test_listener_call(f->client, listener, "Close");
        (void) test_wait_end(peer);
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, "AcceptSocket"), ==, 0);
}

/* Bus, service and test take turns on one processor. */
static void set_up_in_turns(Fixture *f, const void *data) {
        cpu_set_t one;

        CPU_ZERO(&one);
        CPU_SET((size_t) sched_getcpu(), &one);
        g_assert_no_errno(sched_getaffinity(0, sizeof(all_processors), &all_processors));
        g_assert_no_errno(sched_setaffinity(0, sizeof(one), &one));
        fixture_set_up(f, data);
}

static void tear_down_in_turns(Fixture *f, const void *data) {
        /* That takes privileges, and is only faster. */
        (void) sched_setscheduler(test_service_pid(f->service), SCHED_OTHER, &(struct sched_param) {});
        fixture_tear_down(f, data);
        g_assert_no_errno(sched_setaffinity(0, sizeof(all_processors), &all_processors));
}

/* The bus and the test run before anything that the service does after its reply. */
TEST_OF("the port is free before Close is answered", Fixture, f, set_up_in_turns, tear_down_in_turns, NULL) {
        g_assert_no_errno(sched_setscheduler(test_service_pid(f->service), SCHED_IDLE,
                                             &(struct sched_param) {}));
        for (unsigned i = 0; i < 10; i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "localAddress", "s", "::1", NULL);
                uint16_t port = test_get_port(f->client, listener);

                g_assert_true(test_service_is_listening(f->service, port));
                test_listener_call(f->client, listener, "Close");
                g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
        }
}

static bool has_time_wait(uint16_t port) {
        g_autofree char *table = test_read_file("/proc/self/net/tcp6");
        g_autofree char *pattern = g_strdup_printf("^ *\\d+: [0-9A-F]+:%04X [0-9A-F]+:[0-9A-F]+ 06 ", port);
        return g_regex_match_simple(pattern, table, G_REGEX_MULTILINE, 0);
}

/* This end closes first, so this end has it in TIME_WAIT; another connection is still in use. */
TEST_IF(test_require_private_network(), "the same port can be listened on again at once") {
        g_autofree char *first = test_listen(f->client, PORT, -1, NULL);
        _cleanup_close_ int old = test_connect("::1", PORT);
        g_autoptr(TestAccepted) old_accepted = test_client_wait_accepted(f->client);
        _cleanup_close_ int living = test_connect("::1", PORT);
        g_autoptr(TestAccepted) living_accepted = test_client_wait_accepted(f->client);

        old_accepted->socket = close_fd(old_accepted->socket);
        g_assert_cmpint(test_wait_end(old), ==, 0);
        old = close_fd(old);
        test_wait_for(has_time_wait(PORT));

        test_listener_call(f->client, first, "Close");
        g_autofree char *second = test_listen(f->client, PORT, -1, NULL);
        g_assert_cmpstr(second, !=, first);
        _cleanup_close_ int new = test_connect("::1", PORT);
        test_client_expect_peer(f->client, second, new);
        test_assert_connected(living, living_accepted->socket);
}

/* The last close() waits for a peer that does not read. */
static void make_linger(int fd) {
        struct linger linger = { .l_onoff = 1, .l_linger = 3600 };
        g_autofree uint8_t *bytes = g_malloc0(CHUNK);

        g_assert_no_errno(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
        while (send(fd, bytes, CHUNK, MSG_DONTWAIT) > 0)
                ;
        g_assert_cmpint(errno, ==, EAGAIN);
}

/* With acknowledge, the service has the last copy. */
TEST("a descriptor with SO_LINGER does not block the service") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", test_get_port(f->client, listener));
        TestAccepted *accepted = test_client_wait_accepted(f->client);

        make_linger(accepted->socket);
        test_accepted_free(accepted);
        test_acknowledge(f->client, listener, 1);
        test_client_sync_service(other);
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);
}

/* Each listener that is busy has its turns, and the bus has not one among them but one every few. */
TEST("calls are answered while many listeners accept") {
        enum {
                LISTENERS = 64,
                PEERS = 100,
                CALLS = 6
        };
        char *listeners[LISTENERS];
        uint16_t ports[LISTENERS];
        TestCall *calls[CALLS];
        uint64_t refused;

        for (unsigned i = 0; i < LISTENERS; i++) {
                listeners[i] = test_listen(f->client, 0, PEERS, "allowFrom", "as", WORDS("255.255.255.255"),
                                           NULL);
                ports[i] = test_get_port(f->client, listeners[i]);
        }

        /* So that it finds all of it at once. */
        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        for (unsigned i = 0; i < LISTENERS; i++)
                for (unsigned n = 0; n < PEERS; n++)
                        close_fd(test_connect("::1", ports[i]));
        for (unsigned i = 0; i < CALLS; i++) {
                sd_bus_message *m = test_message_new(f->client, listeners[0],
                                                     "org.freedesktop.DBus.Properties", "Get");

                must(sd_bus_message_append(m, "ss", TEST_LISTENER_INTERFACE, "Refused"));
                calls[i] = test_call_start(f->client, m);
        }
        test_client_sync(f->client);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));

        /* The service accepts up to 16 in a turn. */
        must(sd_bus_message_read(test_call_wait(calls[CALLS - 1]), "v", "t", &refused));
        g_assert_cmpuint(refused, <=, 2 * 16);

        for (unsigned i = 0; i < CALLS; i++)
                test_call_free(calls[i]);
        for (unsigned i = 0; i < LISTENERS; i++) {
                test_wait_for(test_get_u64(f->client, listeners[i], "Refused") == PEERS);
                g_free(listeners[i]);
        }
}
