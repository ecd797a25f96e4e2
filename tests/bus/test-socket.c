/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery "socket": the client accepts by itself, until the listener ends. */

#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "bus/fixture.h"

#define ALREADY_TAKEN "org.example.TCPServerSocket.Error.AlreadyTaken"

#define SOCKET "delivery", "s", "socket"

static int take_socket(TestClient *client, const char *listener) {
        return test_listener_call_fd(client, listener, "TakeSocket");
}

static int accept_one(int socket) {
        (void) test_wait_fd(socket, POLLIN);
        int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(fd);
        return fd;
}

static void assert_accepts(int socket, uint16_t port) {
        _cleanup_close_ int peer = test_connect("::1", port);
        _cleanup_close_ int fd = accept_one(socket);

        test_assert_connected(peer, fd);
}

/* Before its end, a copy of the socket accepts; afterwards it is useless. */
typedef struct Copy {
        int socket;
        uint16_t port;
        int peer, accepted; /* a connection before the end */
        int queued;         /* not accepted */
} Copy;

static Copy copy_new(TestClient *client, const char *listener) {
        Copy c = { .socket = take_socket(client, listener), .port = test_get_port(client, listener) };

        c.peer = test_connect("::1", c.port);
        c.accepted = accept_one(c.socket);
        test_assert_connected(c.peer, c.accepted);
        c.queued = test_connect("::1", c.port);
        return c;
}

/* Refused, or no answer for a second. */
static void assert_unreachable(uint16_t port) {
        static const char *const addresses[] = { "::1", "127.0.0.1" };
        int fds[ELEMENTS(addresses)];

        for (size_t i = 0; i < ELEMENTS(fds); i++)
                fds[i] = test_connect_start(NULL, addresses[i], port);
        uint64_t deadline = test_deadline(1000);
        for (size_t i = 0; i < ELEMENTS(fds); i++) {
                struct pollfd poll_fd = { .fd = fds[i], .events = POLLOUT };

                if (fds[i] < 0)
                        continue;
                while (poll(&poll_fd, 1, 0) == 0 && test_now() < deadline)
                        must(sd_event_run(test_event(), 1000));
                if (poll_fd.revents != 0)
                        g_assert_cmpint(test_get_socket_option(fds[i], SOL_SOCKET, SO_ERROR), ==,
                                        ECONNREFUSED);
                close_fd(fds[i]);
        }
}

static void assert_accepts_nothing(int socket) {
        g_assert_no_errno(fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK));
        g_assert_cmpint(accept(socket, NULL, NULL), ==, -1);
        g_assert_true(errno == EINVAL || errno == EAGAIN);
}

/* Some kernels require CAP_NET_ADMIN for that; the service then binds the socket to an interface that does
 * not exist, which alone has to suffice. */
static bool can_attach_filter(struct sock_fprog *program) {
        _cleanup_close_ int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_no_errno(fd);
        return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof(*program)) >= 0;
}

static void copy_assert_revoked(Copy *c) {
        struct sock_filter pass = { .code = BPF_RET | BPF_K, .k = UINT32_MAX };
        struct sock_fprog program = { .len = 1, .filter = &pass };
        int none = 0;

        (void) test_wait_end(c->queued);
        assert_accepts_nothing(c->socket);
        assert_unreachable(c->port);

        /* The client cannot remove the filter. */
        g_assert_cmpint(setsockopt(c->socket, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none)), ==, -1);
        g_assert_cmpint(setsockopt(c->socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), ==,
                        -1);
        if (can_attach_filter(&program))
                g_assert_cmpint(setsockopt(c->socket, SOL_SOCKET, SO_LOCK_FILTER, &none, sizeof(none)), ==,
                                -1);

        /* listen() has no effect, on this port or on one that the kernel chooses now. */
        for (unsigned i = 0; i < 2; i++) {
                (void) listen(c->socket, 16);
                assert_unreachable(c->port);
                if (test_local_port(c->socket) != c->port)
                        assert_unreachable(test_local_port(c->socket));
                assert_accepts_nothing(c->socket);
                (void) connect(c->socket, &(struct sockaddr) { .sa_family = AF_UNSPEC },
                               sizeof(struct sockaddr));
        }

        test_assert_connected(c->peer, c->accepted);
}

static void copy_done(Copy *c) {
        close_fd(c->socket);
        close_fd(c->peer);
        close_fd(c->accepted);
        close_fd(c->queued);
}

/* ---- Taking ---- */

TEST("the client accepts by itself") {
        g_autofree char *listener = test_listen(f->client, 0, -1, SOCKET, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int early = test_connect("::1", port), socket = -EBADF, fd = -EBADF;

        for (unsigned i = 0; i < 3; i++)
                test_client_sync_service(f->client);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);

        socket = take_socket(f->client, listener);
        g_assert_cmpint(test_get_socket_option(socket, SOL_SOCKET, SO_ACCEPTCONN), ==, 1);
        g_assert_cmpuint(test_local_port(socket), ==, port);
        fd = accept_one(socket);
        test_assert_connected(early, fd);
        for (unsigned i = 0; i < 20; i++)
                assert_accepts(socket, port);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Delivered"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}

TEST("nonBlocking applies to the listening socket") {
        g_autofree char *blocking = test_listen(f->client, 0, -1, SOCKET, NULL);
        g_autofree char *non_blocking = test_listen(f->client, 0, -1, SOCKET, "nonBlocking", "b", true, NULL);
        _cleanup_close_ int a = take_socket(f->client, blocking), b = take_socket(f->client, non_blocking);

        g_assert_cmpint(fcntl(a, F_GETFL) & O_NONBLOCK, ==, 0);
        g_assert_cmpint(fcntl(b, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
}

TEST("options apply to accepted connections") {
        g_autofree char *listener = test_listen(f->client, 0, 7, SOCKET, "localAddress", "s", "127.0.0.1",
                                                "noDelay", "b", true, "keepAlive", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int socket = take_socket(f->client, listener), peer = -EBADF, fd = -EBADF;

        peer = test_connect("127.0.0.1", port);
        fd = accept_one(socket);
        g_assert_cmpint(test_get_socket_option(fd, IPPROTO_TCP, TCP_NODELAY), !=, 0);
        g_assert_cmpint(test_get_socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), !=, 0);
        g_assert_cmpuint(test_service_get_backlog(f->service, port), ==, 7);
}

/* Each stalled client takes two thirds of the common part that is free, and the first one the descriptor that
 * is reserved for their user. */
TEST("TakeSocket fails while dbus-daemon has no room for it") {
        static const unsigned n_taken[] = { 17, 6, 2 };
        g_autofree char *listener = test_listen(f->client, 0, -1, SOCKET, NULL), *text = NULL;
        TestClient *stalled[ELEMENTS(n_taken)];
        Peers peers[ELEMENTS(n_taken)] = {};

        if (test_bus_is_broker()) {
                g_test_skip("the bus is dbus-broker");
                return;
        }

        for (size_t i = 0; i < ELEMENTS(n_taken); i++) {
                stalled[i] = test_client_new(f->bus, (uid_t) -1);
                g_autofree char *its_listener = test_listen(stalled[i], 0, -1, NULL);
                uint16_t port = test_get_port(stalled[i], its_listener);
                test_clog(stalled[i], f->bus);
                peers_connect(&peers[i], port, n_taken[i]);
                test_wait_for(test_service_count_queued(f->service, port) == 0);
        }

        test_assert_text(test_call_fails(f->client, &text, listener, TEST_LISTENER_INTERFACE, "TakeSocket",
                                         ""),
                         SD_BUS_ERROR_LIMITS_EXCEEDED);
        g_assert_nonnull(strstr(text, "MaxUnacknowledged"));

        for (size_t i = 0; i < ELEMENTS(n_taken); i++) {
                test_client_free(stalled[i]);
                peers_done(&peers[i]);
        }
        close_fd(take_socket(f->client, listener));
}

TEST("a socket is taken once") {
        g_autofree char *listener = test_listen(f->client, 0, -1, SOCKET, NULL);
        _cleanup_close_ int socket = take_socket(f->client, listener);

        test_assert_text(test_listener_call_fails(f->client, listener, "TakeSocket"), ALREADY_TAKEN);
        assert_accepts(socket, test_get_port(f->client, listener));
        socket = close_fd(socket);
        test_assert_text(test_listener_call_fails(f->client, listener, "TakeSocket"), ALREADY_TAKEN);
}

TEST("another connection of the user may take a persistent socket") {
        g_autofree char *persistent = test_listen(f->client, 0, -1, SOCKET, TEST_PERSISTENT, NULL);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        _cleanup_close_ int socket = take_socket(other, persistent);

        assert_accepts(socket, test_get_port(other, persistent));
}

/* After a restart, a program takes the socket again, with the connections in its queue. */
TEST("the next owner takes a persistent socket again") {
        g_autofree char *listener = test_listen(f->client, 0, -1, SOCKET, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int socket = take_socket(f->client, listener), peer = -EBADF, fd = -EBADF;

        assert_accepts(socket, port);
        socket = close_fd(socket);
        test_client_free(f->client);
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_wait_for(!test_has_owner(f->client, listener));
        peer = test_connect("::1", port);
        test_listener_call(f->client, listener, "Adopt");
        socket = take_socket(f->client, listener);
        fd = accept_one(socket);
        test_assert_connected(peer, fd);
        assert_accepts(socket, port);
}

/* ---- Revoking ---- */

typedef enum End {
        CLOSE,
        OWNER_LEAVES,
        LIFELINE,
        SHUTDOWN,
        CLOSE_BY_ROOT,
        N_ENDS,
} End;

static void end_and_assert_revoked(Fixture *f, End end) {
        static const char *const reasons[N_ENDS] = {
                [CLOSE] = "owner",
                [LIFELINE] = "lifeline",
                [SHUTDOWN] = "shutdown",
                [CLOSE_BY_ROOT] = "owner",
        };
        g_autofree char *listener = test_listen(f->client, test_free_port(), -1, SOCKET, "persistent", "b",
                                                end == CLOSE_BY_ROOT, NULL);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        _cleanup_(copy_done) Copy c = copy_new(f->client, listener);

        if (end == CLOSE)
                test_listener_call(f->client, listener, "Close");
        else if (end == OWNER_LEAVES)
                g_clear_pointer(&f->client, test_client_free);
        else if (end == LIFELINE)
                (void) close_fd(test_listener_call_fd(f->client, listener, "OpenLifeline"));
        else if (end == SHUTDOWN)
                g_assert_cmpint(test_service_stop(f->service), ==, 0);
        else
                test_listener_call(other, listener, "Close");

        if (reasons[end]) {
                test_client_expect_closed(f->client, listener, reasons[end]);
        } else
                test_wait_for(!test_service_is_listening(f->service, c.port));
        copy_assert_revoked(&c);
}

TEST("Close revokes the socket") {
        end_and_assert_revoked(f, CLOSE);
}

TEST("the end of its owner revokes the socket") {
        end_and_assert_revoked(f, OWNER_LEAVES);
}

TEST("the end of its lifeline revokes the socket") {
        end_and_assert_revoked(f, LIFELINE);
}

TEST("the end of the service revokes the socket") {
        end_and_assert_revoked(f, SHUTDOWN);
}

TEST("Close by another connection revokes the socket") {
        end_and_assert_revoked(f, CLOSE_BY_ROOT);
}

/* ---- The grace period ---- */

/* Between Closed and the revocation: the owner can still accept, and stops accepting. */
typedef struct Grace {
        TestClient *other;
        char *listener;
        uint16_t port;
        int socket;
        TestCall *close; /* by the other client */
        uint64_t start;
} Grace;

/* The other client may close it because it is of the same user. */
static void grace_start(Fixture *f, Grace *g) {
        g->other = test_client_new(f->bus, (uid_t) -1);
        g->listener = test_listen(f->client, test_free_port(), -1, SOCKET, TEST_PERSISTENT, NULL);
        g->port = test_get_port(f->client, g->listener);
        g->socket = take_socket(f->client, g->listener);
        g->close = test_call_start(g->other,
                                   test_message_new(g->other, g->listener, TEST_LISTENER_INTERFACE, "Close"));
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
        g_assert_cmpstr(closed->listener, ==, g->listener);
        g->start = test_now();
}

static void grace_done(Grace *g) {
        close_fd(g->socket);
        test_call_free(g->close);
        test_client_free(g->other);
        g_free(g->listener);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Grace, grace_done)

/* Whether the grace period has ended early. Call it again if not: this process may have been too slow. */
static bool grace_was_cut(const Grace *g) {
        return test_now() - g->start < 500 * 1000;
}

static void assert_no_such_listener(TestClient *client, const char *listener, const char *member) {
        test_assert_text(test_listener_call_fails(client, listener, member), SD_BUS_ERROR_UNKNOWN_OBJECT);
}

static bool is_listed(TestClient *client, const char *listener) {
        g_autoptr(sd_bus_message) reply = test_call(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                    "ListListeners", "");
        const char *path;
        bool found = false;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"), >, 0);
        while (sd_bus_message_enter_container(reply, 'r', "oa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read_basic(reply, 'o', &path), >, 0);
                found |= streq(path, listener);
                g_assert_cmpint(sd_bus_message_skip(reply, "a{sv}"), >, 0);
                g_assert_cmpint(sd_bus_message_exit_container(reply), >, 0);
        }
        return found;
}

TEST("the owner is told before its socket is revoked") {
        g_auto(Grace) g = {};

        grace_start(f, &g);
        assert_accepts(g.socket, g.port);
        g_assert_false(test_call_is_done(g.close));

        /* The port is free before Close is answered. */
        (void) test_call_wait(g.close);
        g_assert_null(test_call_error(g.close));
        g_assert_cmpuint(test_now() - g.start, >, 900 * 1000);
        assert_accepts_nothing(g.socket);
        g_free(test_listen(g.other, g.port, -1, NULL));
        g_assert_cmpuint(test_client_count_signals(f->client, "Closed"), ==, 1);
}

TEST("in the grace period, the listener does not exist for callers") {
        g_auto(Grace) g = {};

        grace_start(f, &g);
        assert_no_such_listener(f->client, g.listener, "TakeSocket");
        assert_no_such_listener(f->client, g.listener, "Adopt");
        assert_no_such_listener(g.other, g.listener, "Adopt");
        assert_no_such_listener(g.other, g.listener, "Close");
        test_assert_text(test_call_fails(f->client, NULL, g.listener, "org.freedesktop.DBus.Properties",
                                         "Get", "ss", TEST_LISTENER_INTERFACE, "LocalPort"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);
        g_assert_false(is_listed(f->client, g.listener));
        g_assert_false(is_listed(g.other, g.listener));
        test_assert_text(test_listen_fails(g.other, NULL, g.port, -1, NULL), SD_BUS_ERROR_ADDRESS_IN_USE);
        g_assert_false(test_call_is_done(g.close));
}

TEST("Close by the owner ends the grace period") {
        bool was_cut = false;

        for (unsigned attempt = 0; !was_cut && attempt < 10; attempt++) {
                g_auto(Grace) g = {};

                grace_start(f, &g);
                test_listener_call(f->client, g.listener, "Close");
                g_free(test_listen(f->client, g.port, -1, NULL));
                (void) test_call_wait(g.close);
                g_assert_null(test_call_error(g.close));
                assert_accepts_nothing(g.socket);
                was_cut = grace_was_cut(&g);
        }
        g_assert_true(was_cut);
}

TEST("the end of the owner ends the grace period") {
        bool was_cut = false;

        for (unsigned attempt = 0; !was_cut && attempt < 10; attempt++) {
                g_auto(Grace) g = {};

                grace_start(f, &g);
                test_client_free(f->client);
                f->client = test_client_new(f->bus, (uid_t) -1);
                (void) test_call_wait(g.close);
                g_assert_null(test_call_error(g.close));
                assert_accepts_nothing(g.socket);
                was_cut = grace_was_cut(&g);
        }
        g_assert_true(was_cut);
}

TEST("without a taken socket, there is no grace period") {
        bool was_cut = false;

        for (unsigned attempt = 0; !was_cut && attempt < 10; attempt++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, SOCKET, TEST_PERSISTENT, NULL);
                g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
                Grace g = { .start = test_now() };

                test_listener_call(other, listener, "Close");
                was_cut = grace_was_cut(&g);
        }
        g_assert_true(was_cut);
}

/* Both share a grace period. */
TEST("a service that stops tells the owners before it revokes their sockets") {
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *a = test_listen(f->client, 0, -1, SOCKET, NULL),
                        *b = test_listen(other, 0, -1, SOCKET, NULL);
        uint16_t port_a = test_get_port(f->client, a), port_b = test_get_port(other, b);
        _cleanup_close_ int socket_a = take_socket(f->client, a), socket_b = take_socket(other, b);
        uint64_t start = test_now();

        g_assert_no_errno(kill(test_service_pid(f->service), SIGTERM));
        g_autoptr(TestNotice) closed_a = test_client_wait_closed(f->client);
        g_autoptr(TestNotice) closed_b = test_client_wait_closed(other);
        g_assert_cmpstr(closed_a->reason, ==, "shutdown");
        g_assert_cmpstr(closed_b->reason, ==, "shutdown");
        assert_accepts(socket_a, port_a);
        assert_accepts(socket_b, port_b);

        test_assert_text(test_listen_fails(other, NULL, 0, -1, NULL), SD_BUS_ERROR_NO_REPLY);

        g_assert_cmpint(test_service_wait_exit(f->service), ==, 0);
        g_assert_cmpuint(test_now() - start, >, 900 * 1000);
        assert_accepts_nothing(socket_a);
        assert_accepts_nothing(socket_b);
}

static void assert_ends_at_once(Fixture *f, int signal_number, bool with_owner) {
        bool was_cut = false;

        for (unsigned attempt = 0; !was_cut && attempt < 10; attempt++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, SOCKET, NULL);
                _cleanup_close_ int socket = take_socket(f->client, listener);
                Grace g = { .start = test_now() };

                g_assert_no_errno(kill(test_service_pid(f->service), signal_number));
                g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
                if (with_owner)
                        g_assert_no_errno(kill(test_service_pid(f->service), signal_number));
                else {
                        test_client_free(f->client);
                        f->client = test_client_new(f->bus, (uid_t) -1);
                }
                g_assert_cmpint(test_service_wait_exit(f->service), ==, 0);
                assert_accepts_nothing(socket);
                was_cut = grace_was_cut(&g);
                fixture_restart_service(f, NULL);
        }
        g_assert_true(was_cut);
}

TEST("a second SIGTERM stops the service at once") {
        assert_ends_at_once(f, SIGTERM, true);
}

TEST("a second SIGINT stops the service at once") {
        assert_ends_at_once(f, SIGINT, true);
}

TEST("a service that stops does not wait for owners that have left") {
        assert_ends_at_once(f, SIGTERM, false);
}

TEST("a revoked copy does not keep the port") {
        for (unsigned i = 0; i < 3; i++) {
                uint16_t port = test_free_port();
                g_autofree char *listener = test_listen(f->client, port, -1, SOCKET, NULL), *next = NULL;
                Copy c = copy_new(f->client, listener);

                test_listener_call(f->client, listener, "Close");
                next = test_listen(f->client, port, -1, NULL);
                _cleanup_close_ int peer = test_connect("::1", port);
                test_client_expect_peer(f->client, next, peer);
                assert_accepts_nothing(c.socket);
                g_assert_cmpint(listen(c.socket, 16), ==, -1);
                test_listener_call(f->client, next, "Close");
                copy_done(&c);
        }
}

/* A copy can only keep the port number taken while it is open. */
TEST("a revoked copy that listens again only keeps the port number") {
        uint16_t port = test_free_port();
        g_autofree char *listener = test_listen(f->client, port, -1, SOCKET, NULL), *next = NULL;
        Copy c = copy_new(f->client, listener);

        test_listener_call(f->client, listener, "Close");
        g_assert_no_errno(listen(c.socket, 16));
        test_assert_text(test_listen_fails(f->client, NULL, port, -1, NULL), SD_BUS_ERROR_ADDRESS_IN_USE);
        assert_unreachable(port);

        copy_done(&c);
        next = test_listen(f->client, port, -1, NULL);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_client_expect_peer(f->client, NULL, peer);
}
