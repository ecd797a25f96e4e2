/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Restarts, with a service manager of the test. machine/test-restart.c has systemd. */

#include <sys/mman.h>

#include "bus/fixture.h"
#include "daemon/store/state.h"

typedef struct StoreFixture {
        TestBus *bus;
        TestClient *client;
        TestService *service;
        Keeper *keeper;
        unsigned name_order; /* of the NameOwnerChanged of the service */
} StoreFixture;

static void start_on(StoreFixture *f, TestBus *bus) {
        f->service = keeper_start(f->keeper, bus);
}

static void start(StoreFixture *f) {
        start_on(f, f->bus);
}

static void stop(StoreFixture *f) {
        (void) test_service_kill(f->service);
        test_process_pending();
        keeper_hear(f->keeper);
        g_clear_pointer(&f->service, test_service_free);
}

static void set_up(StoreFixture *f, const void *data) {
        f->bus = test_bus_new(NULL);
        f->keeper = keeper_new(f->bus);
        start(f);
        f->client = test_client_new(f->bus, (uid_t) -1);
}

static void tear_down(StoreFixture *f, const void *data) {
        g_clear_pointer(&f->client, test_client_free);
        g_clear_pointer(&f->service, test_service_free);
        keeper_free(f->keeper);
        test_bus_free(f->bus);
}

#define TEST_HERE(sentence) TEST_OF(sentence, StoreFixture, f, set_up, tear_down, NULL)

TEST_HERE("listeners and connections of all deliveries outlive the process") {
        _cleanup_close_ int socket = -EBADF;
        uint64_t serial;

        g_autofree char *signals = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        g_autofree char *pull = test_listen(f->client, 0, -1, TEST_PERSISTENT_PULL, NULL);
        g_autofree char *channel = test_listen(f->client, 0, -1, TEST_CHANNEL, NULL);
        g_autofree char *taken = test_listen(f->client, 0, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int ours = test_listener_call_fd(f->client, channel, "OpenChannel");
        _cleanup_close_ int listening = test_listener_call_fd(f->client, taken, "TakeSocket");
        _cleanup_close_ int a = test_connect("::1", test_get_port(f->client, signals));
        test_client_expect_accepted(f->client, signals, a, 1);
        _cleanup_close_ int b = test_connect("::1", test_get_port(f->client, channel));
        test_wait_for(test_get_u64(f->client, channel, "Accepted") == 1);

        for (unsigned n = 0; n < 3; n++) {
                stop(f);
                start(f);
                test_client_expect_accepted(f->client, signals, a, 1);
        }
        _cleanup_close_ int c = test_connect("::1", test_get_port(f->client, pull));
        {
                g_autoptr(GPtrArray) batch = test_accept(f->client, pull, 1, 5000);

                g_assert_cmpuint(batch->len, ==, 1);
                test_assert_connected(c, ((TestAccepted *) batch->pdata[0])->socket);
        }
        socket = test_channel_receive(ours, &serial);
        g_assert_cmpuint(serial, ==, 1);
        test_assert_connected(b, socket);
        test_wait_for(test_get_u64(f->client, channel, "Delivered") == 1);
        _cleanup_close_ int d = test_connect("::1", test_get_port(f->client, taken));
        g_assert_cmpuint(test_wait_fd(listening, POLLIN), ==, POLLIN);
        test_assert_text(test_listen(f->client, 0, -1, NULL), TEST_MANAGER_PATH "/listener/5");
}

#define ADOPT TEST_PERSISTENT, TEST_SOCKET, "adopt", "b", true

TEST_HERE("Listen with the option adopt finds a listener of before a restart") {
        g_autofree char *listener = test_listen(f->client, 0, -1, ADOPT, "nonBlocking", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int first = test_listener_call_fd(f->client, listener, "TakeSocket");

        /* The owner leaves while no process is there. */
        stop(f);
        g_clear_pointer(&f->client, test_client_free);
        start(f);
        f->client = test_client_new(f->bus, (uid_t) -1);
        test_wait_for(!test_has_owner(f->client, listener));
        test_assert_text(test_listen_fails(f->client, NULL, port, -1, ADOPT, NULL),
                         SD_BUS_ERROR_ADDRESS_IN_USE);
        test_assert_text(test_listen_fails(f->client, NULL, port, -1, ADOPT, "nonBlocking", "b", true,
                                           "ipv6Only", "b", true, NULL),
                         SD_BUS_ERROR_ADDRESS_IN_USE);
        test_assert_text(test_listen(f->client, port, -1, ADOPT, "nonBlocking", "b", true, NULL), listener);

        _cleanup_close_ int peer = test_connect("::1", port);
        _cleanup_close_ int again = test_listener_call_fd(f->client, listener, "TakeSocket");
        _cleanup_close_ int accepted = accept4(again, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(accepted);
        test_assert_connected(peer, accepted);
}

TEST_HERE("a listener keeps the name of its interface across a restart") {
        if (!test_require_private_network())
                return;

        g_autofree char *scoped = test_listen(f->client, 0, -1, "localAddress", "s",
                                              TEST_LINK_LOCAL "%" TEST_INTERFACE, NULL);
        g_autofree char *bound = test_listen(f->client, 0, -1, "interface", "s", TEST_INTERFACE, NULL);
        test_network_rename(TEST_INTERFACE, "renamed0");
        /* By the second answer, the service has seen the new name. */
        test_client_sync_service(f->client);
        test_client_sync_service(f->client);
        stop(f);
        start(f);
        test_assert_text(test_get_string(f->client, scoped, "LocalAddress"),
                         TEST_LINK_LOCAL "%" TEST_INTERFACE);
        test_assert_text(test_get_string(f->client, scoped, "Interface"), TEST_INTERFACE);
        test_assert_text(test_get_string(f->client, bound, "Interface"), TEST_INTERFACE);
        test_network_rename("renamed0", TEST_INTERFACE);
}

#define ADD_VPN "link add vpn0 index 4711 type veth peer name peer0"

TEST_HERE("a listener ends when its interface is gone after a restart") {
        if (!test_require_private_network())
                return;

        test_network_ip(ADD_VPN);
        TestClient *other = test_client_new(f->bus, (uid_t) -1),
                   *leaving = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *owned = test_listen(f->client, 0, -1, "interface", "s", "vpn0", NULL),
                        *ownerless = test_listen(other, 0, -1, "interface", "s", "vpn0", TEST_PERSISTENT,
                                                 NULL),
                        *abandoned = test_listen(leaving, 0, -1, "interface", "s", "vpn0", TEST_PERSISTENT,
                                                 NULL),
                        *staying = test_listen(f->client, 0, -1, "interface", "s", TEST_INTERFACE, NULL);
        test_client_free(other);
        test_wait_for(!test_has_owner(f->client, ownerless));

        stop(f);
        test_network_ip("link del vpn0");
        test_client_free(leaving);
        start(f);
        test_client_expect_closed(f->client, owned, "interface");
        g_assert_cmpuint(test_client_count_signals(f->client, "Error"), ==, 1);
        test_assert_text(test_listener_call_fails(f->client, ownerless, "Adopt"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);
        test_assert_text(test_listener_call_fails(f->client, abandoned, "Adopt"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);
        g_assert_cmpuint(test_get_port(f->client, staying), >, 0);
}

/* The index was given away, once to an interface of the same name. */
TEST_HERE("after a restart, a listener does not pass to another interface") {
        if (!test_require_private_network())
                return;

        test_network_ip(ADD_VPN);
        g_autofree char *listener = test_listen(f->client, 0, -1, "interface", "s", "vpn0", NULL);
        /* A service that is killed while it answers Listen closes the listener. */
        test_client_sync_service(f->client);
        stop(f);
        test_network_ip("link del vpn0");
        test_network_ip(ADD_VPN);
        start(f);
        g_assert_cmpuint(test_get_port(f->client, listener), >, 0);

        stop(f);
        test_network_ip("link del vpn0");
        test_network_ip("link add other0 index 4711 type veth peer name peer0");
        start(f);
        test_client_expect_closed(f->client, listener, "interface");
        test_network_ip("link del other0");
}

TEST_HERE("acknowledgements are accepted after a restart") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));

        test_client_expect_accepted(f->client, listener, peer, 1);
        sd_bus_message_unref(test_call(f->client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(1)));
        stop(f);
        start(f);
        sd_bus_message_unref(test_call(f->client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(1)));
}

TEST_HERE("the process of an owner is known after a restart, and for its next listener") {
        g_autofree char *before = test_listen(f->client, 0, -1, NULL);

        g_assert_cmpuint(test_get_u64(f->client, before, "OwnerPID"), ==, getpid());
        stop(f);
        start(f);
        g_autofree char *after = test_listen(f->client, 0, -1, NULL);
        g_assert_cmpuint(test_get_u64(f->client, before, "OwnerPID"), ==, getpid());
        g_assert_cmpuint(test_get_u64(f->client, after, "OwnerPID"), ==, getpid());
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        StoreFixture *f = userdata;
        const char *name, *before, *after;

        g_assert_cmpint(sd_bus_message_read(m, "sss", &name, &before, &after), >, 0);
        if (streq(name, TEST_BUS_NAME) && *after)
                f->name_order = test_client_next_order(f->client);
        return 0;
}

/* A client that checks the sender would ignore signals of another one. */
TEST_HERE("signals are sent after the new process owns the name") {
        sd_bus_slot *match = NULL;

        g_autofree char *bound = test_listen(f->client, 0, -1, NULL);
        _cleanup_close_ int lifeline = test_listener_call_fd(f->client, bound, "OpenLifeline");
        g_autofree char *channel = test_listen(f->client, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int ours = test_listener_call_fd(f->client, channel, "OpenChannel");
        {
                _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, channel)),
                                    socket = -EBADF;
                uint64_t serial;

                socket = test_channel_receive(ours, &serial);
                test_assert_connected(peer, socket);
        }
        test_wait_for(test_get_u64(f->client, channel, "Delivered") == 1);
        must(sd_bus_match_signal(test_client_bus(f->client), &match, "org.freedesktop.DBus",
                                 "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                                 on_owner_changed, f));

        stop(f);
        lifeline = close_fd(lifeline);
        ours = close_fd(ours);
        start(f);
        for (unsigned n = 0; n < 2; n++) {
                g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);

                g_assert_cmpstr(closed->reason, ==, streq(closed->listener, bound) ? "lifeline" : "owner");
                g_assert_cmpuint(f->name_order, >, 0);
                g_assert_cmpuint(closed->order, >, f->name_order);
        }
        sd_bus_slot_unref(match);
}

static void set_flag(StoreFixture *f, uint32_t flag) {
        int table = keeper_find(f->keeper, "table");
        StateSlot slot;

        g_assert_cmpint(pread(table, &slot, sizeof(slot), sizeof(StateHeader)), ==, sizeof(slot));
        g_assert_cmpuint(slot.flags & flag, ==, 0);
        slot.flags |= flag;
        g_assert_cmpint(pwrite(table, &slot, sizeof(slot), sizeof(StateHeader)), ==, sizeof(slot));
}

#define KILLED_IN_LISTEN "the service was killed while it answered Listen"

/* As if the process had died before it could answer Listen. */
TEST_HERE("a Listen without a reply frees its port") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL), *again = NULL;
        uint16_t port = test_get_port(f->client, listener);
        sd_bus_slot *match = NULL;

        test_wait_for(keeper_find(f->keeper, "table") >= 0);
        must(sd_bus_match_signal(test_client_bus(f->client), &match, "org.freedesktop.DBus",
                                 "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                                 on_owner_changed, f));
        stop(f);
        set_flag(f, STATE_UNANNOUNCED);
        start(f);
        g_assert_true(test_service_has_logged(f->service, KILLED_IN_LISTEN));
        again = test_listen(f->client, port, -1, NULL);
        g_assert_cmpstr(again, !=, listener);
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpuint(f->name_order, >, 0);
        g_assert_cmpuint(closed->order, >, f->name_order);
        sd_bus_slot_unref(match);
}

/* The client may have left with the reply, or without one. */
TEST_HERE("a Listen without a reply frees its port, also if the client has left") {
        g_autoptr(TestClient) leaving = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(leaving, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(leaving, listener);

        test_wait_for(keeper_find(f->keeper, "table") >= 0);
        stop(f);
        set_flag(f, STATE_UNANNOUNCED);
        g_clear_pointer(&leaving, test_client_free);
        start(f);
        g_assert_true(test_service_has_logged(f->service, KILLED_IN_LISTEN));
        g_free(test_listen(f->client, port, -1, NULL));
        test_assert_text(test_listener_call_fails(f->client, listener, "Adopt"), SD_BUS_ERROR_UNKNOWN_OBJECT);
}

TEST_HERE("sockets and channels of listeners without an owner stay taken") {
        TestClient *owner = test_client_new(f->bus, (uid_t) -1);
        uint64_t serial;

        g_autofree char *socket = test_listen(owner, 0, -1, TEST_SOCKET, TEST_PERSISTENT, NULL);
        g_autofree char *channel = test_listen(owner, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, NULL);
        g_autofree char *left = test_listen(owner, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, NULL);
        _cleanup_close_ int theirs = test_listener_call_fd(owner, left, "OpenChannel");
        test_client_free(owner);
        test_wait_for(!test_has_owner(f->client, left));
        _cleanup_close_ int taken = test_listener_call_fd(f->client, socket, "TakeSocket");
        _cleanup_close_ int ours = test_listener_call_fd(f->client, channel, "OpenChannel");

        stop(f);
        start(f);
        test_assert_text(test_listener_call_fails(f->client, socket, "TakeSocket"),
                         "org.example.TCPServerSocket.Error.AlreadyTaken");

        /* Its program has left. */
        _cleanup_close_ int a = test_connect("::1", test_get_port(f->client, left));
        _cleanup_close_ int b = test_connect("::1", test_get_port(f->client, channel));
        _cleanup_close_ int c = test_channel_receive(ours, &serial);
        test_assert_connected(b, c);
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_get_u64(f->client, left, "Accepted"), ==, 0);
}

/* A persistent listener. Its owner has taken the socket, and another client of the user closes it. */
typedef struct Closing {
        TestClient *other;
        char *listener;
        uint16_t port;
        int socket;
} Closing;

/* Kills the service in the grace period. */
static void kill_while_closing(StoreFixture *f, Closing *c) {
        c->other = test_client_new(f->bus, (uid_t) -1);
        c->listener = test_listen(f->client, 0, -1, TEST_SOCKET, TEST_PERSISTENT, NULL);
        c->port = test_get_port(f->client, c->listener);
        c->socket = test_listener_call_fd(f->client, c->listener, "TakeSocket");
        test_call_free(test_call_start(
                        c->other, test_message_new(c->other, c->listener, TEST_LISTENER_INTERFACE, "Close")));
        g_autoptr(TestNotice) closed = test_client_wait_closed(f->client);
        stop(f);
}

static void assert_closed(StoreFixture *f, Closing *c) {
        test_assert_text(test_listener_call_fails(c->other, c->listener, "Adopt"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);
        test_wait_for(!test_service_is_listening(f->service, c->port));
        g_assert_no_errno(fcntl(c->socket, F_SETFL, O_NONBLOCK));
        g_assert_cmpint(accept(c->socket, NULL, NULL), ==, -1);
        g_assert_cmpint(errno, ==, EINVAL);
        test_wait_for(keeper_has_nothing(f->keeper));

        test_client_free(c->other);
        close_fd(c->socket);
        g_free(c->listener);
}

/* The last process may have died before it sent Closed. */
TEST_HERE("after a crash in the grace period, there is another one") {
        Closing c;

        kill_while_closing(f, &c);
        start(f);
        test_client_expect_closed(f->client, c.listener, "owner");
        g_assert_true(test_service_is_listening(f->service, c.port));
        assert_closed(f, &c);
}

TEST_HERE("a crash in the grace period does not keep the listener of an owner that has left") {
        Closing c;

        kill_while_closing(f, &c);
        g_clear_pointer(&f->client, test_client_free);
        start(f);
        g_assert_false(test_service_is_listening(f->service, c.port));
        assert_closed(f, &c);
}

TEST_HERE("connections lost before the restart are reported as such") {
        g_autofree char *channel = test_listen(f->client, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int ours = test_listener_call_fd(f->client, channel, "OpenChannel"), peer = -EBADF;

        peer = test_connect("::1", test_get_port(f->client, channel));
        test_wait_for(test_get_u64(f->client, channel, "Accepted") == 1);
        stop(f);
        start(f);
        ours = close_fd(ours);
        g_autoptr(TestError) error = test_client_wait_error(f->client);
        g_assert_cmpstr(error->listener, ==, channel);
        g_assert_nonnull(strstr(error->message, "before the restart of the service"));
        g_assert_null(strstr(error->message, "0.0.0.0"));
}

/* A persistent listener with a channel and packets of up to so many connections. */
typedef struct Batches {
        StoreFixture *f;
        char *listener;
        uint16_t port;
        int channel;
        int peers[256];
        unsigned n_peers;
} Batches;

static void batches_open(Batches *b, StoreFixture *f, unsigned batch) {
        *b = (Batches) { .f = f };
        b->listener = test_listen(f->client, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, "channelBatch", "u", batch,
                                  NULL);
        b->port = test_get_port(f->client, b->listener);
        b->channel = test_listener_call_fd(f->client, b->listener, "OpenChannel");
}

/* Puts so many connections into the channel, as many as possible in each packet. */
static void batches_fill(Batches *b, unsigned n) {
        g_assert_cmpuint(b->n_peers + n, <=, ELEMENTS(b->peers));
        test_listener_call(b->f->client, b->listener, "Pause");
        for (; n > 0; n--)
                b->peers[b->n_peers++] = test_connect("::1", b->port);
        test_listener_call(b->f->client, b->listener, "Resume");
        test_wait_for(test_get_u64(b->f->client, b->listener, "Accepted") == b->n_peers);
}

static void batches_read(Batches *b, unsigned n) {
        ChannelRecord records[CHANNEL_BATCH_MAX];
        int fds[CHANNEL_BATCH_MAX];

        g_assert_cmpuint(test_channel_receive_packet(b->channel, records, fds, ELEMENTS(fds)), ==, n);
        for (unsigned i = 0; i < n; i++) {
                test_assert_connected(fds[i], b->peers[records[i].serial - 1]);
                (void) close(fds[i]);
        }
}

static void batches_assert_delivered(Batches *b, uint64_t n) {
        test_wait_for(test_get_u64(b->f->client, b->listener, "Delivered") >= n);
        test_client_sync_service(b->f->client);
        g_assert_cmpuint(test_get_u64(b->f->client, b->listener, "Delivered"), ==, n);
        g_assert_cmpuint(test_get_u64(b->f->client, b->listener, "Accepted"), ==, b->n_peers);
        g_assert_cmpuint(test_get_u64(b->f->client, b->listener, "Lost"), ==, 0);
}

static void batches_lose(Batches *b, uint64_t n) {
        b->channel = close_fd(b->channel);
        test_wait_for(test_get_u64(b->f->client, b->listener, "Lost") >= n);
        g_assert_cmpuint(test_get_u64(b->f->client, b->listener, "Lost"), ==, n);
        g_assert_cmpuint(test_get_u64(b->f->client, b->listener, "Delivered"), ==, b->n_peers - n);
}

static void batches_done(Batches *b) {
        for (unsigned i = 0; i < b->n_peers; i++)
                (void) close_fd(b->peers[i]);
        g_free(b->listener);
}

TEST_HERE("unread packets of different sizes outlive the process") {
        static const unsigned sizes[] = { 3, 12, 1, 9, 7, 2 };
        Batches b;

        batches_open(&b, f, CHANNEL_BATCH_MAX);
        for (size_t i = 0; i < ELEMENTS(sizes) - 1; i++)
                batches_fill(&b, sizes[i]);
        batches_read(&b, 3);
        batches_assert_delivered(&b, 3);

        stop(f);
        start(f);
        batches_assert_delivered(&b, 3);
        batches_read(&b, 12);
        batches_assert_delivered(&b, 15);

        /* A packet is read while no process is running. */
        stop(f);
        batches_read(&b, 1);
        start(f);
        batches_assert_delivered(&b, 16);

        /* Packets of the new process follow those of the last one. */
        batches_fill(&b, 2);
        batches_assert_delivered(&b, 16);
        batches_read(&b, 9);
        batches_assert_delivered(&b, 25);
        stop(f);
        start(f);
        batches_assert_delivered(&b, 25);
        batches_lose(&b, 9);
        batches_done(&b);
}

TEST_HERE("a full channel outlives the process") {
        static const unsigned batches[] = { CHANNEL_BATCH_MAX, 1 };

        for (size_t i = 0; i < ELEMENTS(batches); i++) {
                Batches b;

                batches_open(&b, f, batches[i]);
                batches_fill(&b, 1);
                batches_read(&b, 1);
                for (unsigned n = 0; n < 2; n++)
                        batches_fill(&b, CHANNEL_BATCH_MAX);

                stop(f);
                start(f);
                batches_assert_delivered(&b, 1);
                for (unsigned n = 0; n < CHANNEL_BATCH_MAX; n += batches[i]) {
                        batches_read(&b, batches[i]);
                        batches_assert_delivered(&b, 1 + n + batches[i]);
                }
                stop(f);
                start(f);
                batches_assert_delivered(&b, 1 + CHANNEL_BATCH_MAX);
                batches_lose(&b, CHANNEL_BATCH_MAX);
                batches_done(&b);
        }
}

/* Then the service cannot know which connections are unread, but it must count each of them. */
TEST_HERE("a damaged record of packets does no harm") {
        static const uint64_t records[] = { 0, 1, UINT64_C(1) << 63, UINT64_C(1) << 33, 0x5555, UINT64_MAX };
        Batches b;

        batches_open(&b, f, CHANNEL_BATCH_MAX);
        for (size_t i = 0; i < ELEMENTS(records); i++) {
                batches_fill(&b, 3);
                batches_fill(&b, 9);
                stop(f);
                g_assert_cmpint(pwrite(keeper_find(f->keeper, "table"), &records[i], sizeof(records[i]),
                                       sizeof(StateHeader) + offsetof(StateSlot, channel_ends)),
                                ==, sizeof(records[i]));
                start(f);
                batches_fill(&b, 5);
                batches_read(&b, 3);
                batches_read(&b, 9);
                batches_read(&b, 5);
                batches_assert_delivered(&b, b.n_peers);
        }
        batches_done(&b);
}

/* Without a systemd on the bus, SIGTERM is a stop, not a restart. */
TEST_HERE("a stop closes all listeners") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);

        g_assert_cmpint(test_service_stop(f->service), ==, 0);
        g_clear_pointer(&f->service, test_service_free);
        test_client_expect_closed(f->client, NULL, "shutdown");
        keeper_hear(f->keeper);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

TEST_HERE("on another bus, owners are not confused") {
        g_autofree char *owner = g_strdup(test_client_name(f->client));

        g_autofree char *owned = test_listen(f->client, 0, -1, NULL);
        uint16_t owned_port = test_get_port(f->client, owned);
        g_autofree char *persistent = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t persistent_port = test_get_port(f->client, persistent);
        stop(f);
        g_clear_pointer(&f->client, test_client_free);

        /* Another client has the owner's name here, as each bus counts from 1. */
        TestBus *other = test_bus_new(NULL);
        do {
                g_clear_pointer(&f->client, test_client_free);
                f->client = test_client_new(other, (uid_t) -1);
        } while (!streq(test_client_name(f->client), owner));
        start_on(f, other);
        test_assert_text(test_listener_call_fails(f->client, owned, "Close"),
                         "org.freedesktop.DBus.Error.UnknownObject");
        g_assert_cmpint(test_connect_fails("::1", owned_port), ==, ECONNREFUSED);
        g_assert_false(test_has_owner(f->client, persistent));
        test_listener_call(f->client, persistent, "Adopt");

        _cleanup_close_ int peer = test_connect("::1", persistent_port);

        test_client_expect_accepted(f->client, persistent, peer, 1);
        g_clear_pointer(&f->client, test_client_free);
        g_clear_pointer(&f->service, test_service_free);
        test_bus_free(other);
}

/* As another version would have left it. */
TEST_HERE("the table of another version is discarded") {
        g_autofree G_GNUC_UNUSED char *listener = test_listen(f->client, 0, -1, NULL), *log = NULL,
                                      *again = NULL;
        uint16_t port = test_get_port(f->client, listener);
        StateHeader header;

        stop(f);
        int table = keeper_find(f->keeper, "table");
        g_assert_cmpint(pread(table, &header, sizeof(header), 0), ==, sizeof(header));
        header.version++;
        g_assert_cmpint(pwrite(table, &header, sizeof(header), 0), ==, sizeof(header));
        start(f);
        g_assert_true(test_service_has_logged(f->service, "it has the format of another version"));
        test_wait_for(keeper_count(f->keeper) == 0);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);

        again = test_listen(f->client, 0, -1, NULL);
        g_assert_cmpstr(again, ==, TEST_MANAGER_PATH "/listener/1");
}

TEST_HERE("invalid descriptors in the fd store are discarded") {
        g_autofree char *listener = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, listener);
        int pipe_ends[2], ends[2], table;

        test_wait_for(keeper_find(f->keeper, "table") >= 0);
        stop(f);
        g_assert_no_errno(pipe2(pipe_ends, O_CLOEXEC));
        keeper_add(f->keeper, "l7", pipe_ends[0]);
        keeper_add(f->keeper, "l7", pipe_ends[1]);
        keeper_add(f->keeper, "c300", open("/dev/null", O_RDONLY | O_CLOEXEC));
        keeper_add(f->keeper, "c3", open("/dev/null", O_RDONLY | O_CLOEXEC)); /* half of a queue */
        keeper_add(f->keeper, "stored", open("/", O_RDONLY | O_CLOEXEC));
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        for (unsigned n = 0; n < 50; n++) {
                char bytes[128];

                for (size_t i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (char) g_test_rand_int();
                g_assert_no_errno(send(ends[0], bytes, 1 + n, 0));
        }
        keeper_add(f->keeper, "c4", ends[0]);
        keeper_add(f->keeper, "c4", ends[1]);

        start(f);
        test_wait_for(keeper_find(f->keeper, "l7") < 0 && keeper_find(f->keeper, "c300") < 0 &&
                      keeper_find(f->keeper, "c3") < 0 && keeper_find(f->keeper, "stored") < 0);
        {
                _cleanup_close_ int peer = test_connect("::1", port);

                test_client_expect_accepted(f->client, listener, peer, 1);
        }

        /* A table that is too short: reading it would end the process. */
        stop(f);
        keeper_remove(f->keeper, "table");
        table = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        g_assert_no_errno(table);
        keeper_add(f->keeper, "table", table);
        start(f);
        g_assert_true(test_service_has_logged(f->service, "Closing all listeners"));
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* Every byte of it may be wrong. */
TEST_HERE("a damaged table does not crash the service") {
        for (unsigned round = 0; round < 20; round++) {
                g_autofree G_GNUC_UNUSED char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT,
                                                                      NULL);
                StateSlot slots[8];

                test_wait_for(keeper_find(f->keeper, "table") >= 0);
                stop(f);
                int table = keeper_find(f->keeper, "table");
                g_assert_cmpint(pread(table, slots, sizeof(slots), sizeof(StateHeader)), ==, sizeof(slots));
                for (unsigned n = 0; n < 20; n++)
                        ((char *) slots)[g_test_rand_int_range(0, sizeof(slots))] = (char) g_test_rand_int();
                g_assert_cmpint(pwrite(table, slots, sizeof(slots), sizeof(StateHeader)), ==, sizeof(slots));
                start(f);
                test_client_sync_service(f->client);
        }
}

/* The next number would be 0, which the service never uses. */
TEST_HERE("numbers at the end of their range do not end the service") {
        static const off_t places[] = {
                sizeof(StateHeader) + offsetof(StateSlot, accepted),
                offsetof(StateHeader, last_id),
        };
        const uint64_t highest = UINT64_MAX;

        for (size_t i = 0; i < ELEMENTS(places); i++) {
                g_autofree char *saved = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
                uint16_t port = test_get_port(f->client, saved);

                test_wait_for(keeper_find(f->keeper, "table") >= 0);
                stop(f);
                g_assert_cmpint(pwrite(keeper_find(f->keeper, "table"), &highest, sizeof(highest), places[i]),
                                ==, sizeof(highest));
                start(f);
                g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);

                g_autofree char *next = test_listen(f->client, 0, -1, NULL);
                _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, next));
                test_client_expect_accepted(f->client, next, peer, 1);
        }
}

/* The listener has no owner then, and its connections wait in the kernel. */
TEST_HERE("the end of the bus loses no connection") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);
        int peers[8];

        {
                _cleanup_close_ int first = test_connect("::1", port);

                test_client_expect_accepted(f->client, listener, first, 1);
        }
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 1);

        /* So that it finds both at once. */
        g_assert_no_errno(kill(test_service_pid(f->service), SIGSTOP));
        test_bus_kill(f->bus);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                peers[i] = test_connect("::1", port);
        g_assert_no_errno(kill(test_service_pid(f->service), SIGCONT));

        g_assert_cmpint(test_service_wait_exit(f->service), ==, 1);
        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                struct pollfd poll_fd = { .fd = peers[i], .events = POLLIN | POLLRDHUP };

                g_assert_cmpint(poll(&poll_fd, 1, 0), ==, 0);
                close_fd(peers[i]);
        }
}

/* A manager that does not read does not block the service, and is notified later. */
TEST_HERE("a busy service manager does not block the service") {
        g_auto(GStrv) listeners = g_new0(char *, 1001);

        if (!test_require_descriptors(2000))
                return;

        keeper_set_deaf(f->keeper, true);
        for (unsigned i = 0; i < 700; i++)
                listeners[i] = test_listen(f->client, 0, -1, NULL);
        g_autofree char *last = test_listen(f->client, 0, -1, NULL);
        uint16_t port = test_get_port(f->client, last);
        {
                _cleanup_close_ int peer = test_connect("::1", port);

                test_client_expect_accepted(f->client, last, peer, 1);
        }
        /* Otherwise the next process would hand it out again. */
        test_wait_for(test_get_u64(f->client, last, "Delivered") == 1);
        keeper_set_deaf(f->keeper, false);
        /* The table, and two times 128 pairs. */
        test_wait_for(keeper_count(f->keeper) == 1 + 2 * 2 * 128);
        stop(f);
        start(f);

        _cleanup_close_ int peer = test_connect("::1", port);

        test_client_expect_accepted(f->client, last, peer, 2);
}
