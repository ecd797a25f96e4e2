/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Clients that do not read: replies to their calls, and signals that other clients cause. When 127 MiB of a
 * sender wait for such clients, dbus-daemon stops reading from that sender, and the service could serve no
 * client. dbus-broker counts it against the client, and in the end disconnects it.
 */

#include "bus/fixture.h"

/* --- Calls with counted replies --- */

#define COUNTED_LISTENERS 1000U
#define COUNTED_LISTS 300U

/* The number of calls before a wait. */
#define COUNTED_AT_ONCE 50U

/* Begins with zeros. */
typedef struct Counted {
        TestClient *client; /* or NULL */
        unsigned n_sent;
        unsigned n_answered;
        unsigned n_refused; /* of these */
        unsigned n_failed;  /* with another error */
        unsigned refused;   /* the order of the first refusal among all received messages */
} Counted;

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Counted *calls = userdata;

        calls->n_answered++;
        if (sd_bus_message_is_method_error(m, SD_BUS_ERROR_LIMITS_EXCEEDED)) {
                calls->n_refused++;
                if (calls->client && calls->refused == 0 &&
                    !streq(sd_bus_message_get_sender(m), "org.freedesktop.DBus"))
                        calls->refused = test_client_next_order(calls->client);
        } else if (sd_bus_message_get_error(m))
                calls->n_failed++;
        return 1;
}

static void counted_start(Counted *calls, TestClient *client, sd_bus_message *m) {
        must(sd_bus_call_async(test_client_bus(client), NULL, m, on_answer, calls, UINT64_MAX));
        sd_bus_message_unref(m);
        calls->n_sent++;
}

static sd_bus_message *counted_make_list(TestClient *client) {
        return test_message_new(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "ListListeners");
}

static sd_bus_message *counted_make_introspect(TestClient *client) {
        return test_message_new(client, TEST_MANAGER_PATH, "org.freedesktop.DBus.Introspectable",
                                "Introspect");
}

/* --- Clients that do not read --- */

#define SECOND UINT64_C(1000000)

/* The replies to so many calls exceed the limit of dbus-daemon. */
#define N_SHORT_CALLS 50000U /* of 3 kB */
#define N_ECHOES 200U        /* of 1 MiB */
#define N_PATH_ECHOES 3000U  /* of 60 kB */

#define N_TO_FILL 4000U /* short calls with more replies than a user may leave unread */
#define N_LOST 64U      /* a channel holds no more */
#define N_ROUNDS 10U
#define N_ACCEPTS 1000U

/* An account is full when the next reply would exceed it, and may still have room for shorter signals. */
#define SLACK (UINT64_C(16) * 1024)

static sd_bus_message *new_get(TestClient *client, const char *interface, const char *property) {
        sd_bus_message *m = test_message_new(client, TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties",
                                             "Get");

        must(sd_bus_message_append(m, "ss", interface, property));
        return m;
}

/* Other clients are served, old ones and new ones. */
static void assert_served(Fixture *f, TestClient *bystander) {
        g_autoptr(TestClient) newcomer = test_client_new(f->bus, (uid_t) -1);
        TestClient *clients[] = { bystander, newcomer };

        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                g_autofree char *listener = test_listen(clients[i], 0, -1, NULL);

                test_assert_served(clients[i], listener, "::1");
                sd_bus_message *list = test_call(clients[i], TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                 "ListListeners", "");
                sd_bus_message_unref(list);
                test_listener_call(clients[i], listener, "Close");
        }
}

/* The service refuses calls because of an old number of bytes, which it got while the client was reading. It
 * asks the bus again before so many calls. */
static void make_it_ask(TestClient *client) {
        for (unsigned i = 0; i < COUNTED_AT_ONCE; i++) {
                g_autoptr(TestCall) call = test_call_start(
                                client, new_get(client, TEST_MANAGER_INTERFACE, "Version"));

                (void) test_call_wait(call);
        }
}

/* After refused calls, the client reads everything. Then all of its calls are answered. */
static void recover(TestClient *client, Counted *calls) {
        test_client_set_stalled(client, false);
        if (test_bus_is_broker())
                return;

        test_wait_for(calls->n_answered == calls->n_sent);
        g_test_message("%u calls, %u of them refused", calls->n_sent, calls->n_refused);
        g_assert_cmpuint(calls->n_refused, >, 0);
        make_it_ask(client);
        g_autofree char *listener = test_listen(client, 0, -1, NULL);
        test_listener_call(client, listener, "Close");
}

/* Sends so many calls and does not read. */
static void call_unread(Fixture *f,
                        sd_bus_message *(*make)(TestClient *client),
                        TestClient *staller,
                        unsigned n_calls,
                        Counted *calls) {
        test_client_set_stalled(staller, true);
        for (unsigned i = 0; i < n_calls && !test_client_is_disconnected(staller); i++) {
                counted_start(calls, staller, make(staller));
                if (i % COUNTED_AT_ONCE == COUNTED_AT_ONCE - 1) {
                        (void) sd_bus_flush(test_client_bus(staller));
                        /* dbus-daemon allows 128 pending replies for each client. */
                        test_client_sync_service(f->client);
                }
        }
}

static void stall(Fixture *f,
                  sd_bus_message *(*make)(TestClient *client),
                  TestClient *staller,
                  unsigned n_calls) {
        Counted calls = {};

        call_unread(f, make, staller, n_calls, &calls);
        assert_served(f, f->client);
        recover(staller, &calls);
        assert_served(f, f->client);
}

static sd_bus_message *make_echo(TestClient *client) {
        g_autofree char *name = g_strnfill((size_t) 1 << 20, 'x');

        return new_get(client, TEST_MANAGER_INTERFACE, name);
}

/* The maximum of sd-bus. */
static sd_bus_message *make_path_echo(TestClient *client) {
        g_autofree char *name = g_strnfill(60000, 'x');
        g_autofree char *path = g_strdup_printf(TEST_MANAGER_PATH "/listener/%s", name);

        return test_message_new(client, path, TEST_LISTENER_INTERFACE, "Close");
}

TEST("unread long lists do not affect others") {
        g_autoptr(TestClient) staller = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *name = g_strnfill(255, 'n');

        if (!test_require_descriptors(COUNTED_LISTENERS + 256))
                return;

        for (unsigned i = 0; i < COUNTED_LISTENERS; i++)
                g_free(test_listen(staller, 0, -1, "name", "s", name, NULL));

        stall(f, counted_make_list, staller, COUNTED_LISTS);
}

TEST("unread replies to many short calls do not affect others") {
        g_autoptr(TestClient) staller = test_client_new(f->bus, (uid_t) -1);

        stall(f, counted_make_introspect, staller, N_SHORT_CALLS);
}

/* The errors of sd-bus contain the unknown name. */
TEST("unread errors with long names do not affect others") {
        g_autoptr(TestClient) staller = test_client_new(f->bus, (uid_t) -1);

        stall(f, make_echo, staller, N_ECHOES);
}

TEST("unread errors with long paths do not affect others") {
        g_autoptr(TestClient) staller = test_client_new(f->bus, (uid_t) -1);

        stall(f, make_path_echo, staller, N_PATH_ECHOES);
}

/* The bytes to the client that wait in dbus-daemon. */
static uint64_t get_outgoing_bytes(TestClient *asker, TestClient *client) {
        sd_bus_message *m = NULL;
        uint32_t bytes = 0;
        const char *key;

        must(sd_bus_message_new_method_call(test_client_bus(asker), &m, "org.freedesktop.DBus",
                                            "/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats",
                                            "GetConnectionStats"));
        must(sd_bus_message_append(m, "s", test_client_name(client)));
        g_autoptr(TestCall) call = test_call_start(asker, m);
        g_assert_cmpstr(test_call_error(call), ==, NULL);

        sd_bus_message *reply = test_call_wait(call);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "s", &key), >, 0);
                if (streq(key, "OutgoingBytes"))
                        g_assert_cmpint(sd_bus_message_read(reply, "v", "u", &bytes), >, 0);
                else
                        g_assert_cmpint(sd_bus_message_skip(reply, "v"), >, 0);
                must(sd_bus_message_exit_container(reply));
        }
        return bytes;
}

/* The service has sent nothing to the owner, which does not read. */
static void assert_spared(Fixture *f, TestClient *owner, uint64_t before) {
        uint64_t after;

        test_client_sync_service(f->client);
        if (!test_bus_is_broker()) {
                after = get_outgoing_bytes(f->client, owner);
                g_test_message("%" G_GUINT64_FORMAT " bytes wait, and before %" G_GUINT64_FORMAT, after,
                               before);
                g_assert_cmpuint(after, <=, before + SLACK);
        }
        assert_served(f, f->client);
}

/* Another client opens the channel and reads nothing: the owner gets an Error for each connection. */
static void lose_connections(TestClient *client, const char *listener) {
        uint64_t n = test_get_u64(client, listener, "Lost") + N_LOST;
        int channel = test_listener_call_fd(client, listener, "OpenChannel");
        int peers[N_LOST];

        for (size_t i = 0; i < ELEMENTS(peers); i++)
                peers[i] = test_connect("::1", test_get_port(client, listener));
        test_wait_for(test_get_u64(client, listener, "Accepted") == n);
        close_fd(channel);
        test_wait_for(test_get_u64(client, listener, "Lost") == n);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                close_fd(peers[i]);
}

TEST("unread Error signals do not affect others") {
        g_autoptr(TestClient) owner = test_client_new(f->bus, (uid_t) -1);
        g_autofree char *listener = test_listen(owner, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, NULL);
        Counted calls = {};
        uint64_t before = 0;

        call_unread(f, counted_make_introspect, owner, N_TO_FILL, &calls);
        if (!test_bus_is_broker())
                before = get_outgoing_bytes(f->client, owner);
        for (unsigned i = 0; i < N_ROUNDS; i++)
                lose_connections(f->client, listener);
        assert_spared(f, owner, before);

        recover(owner, &calls);
        if (test_bus_is_broker())
                return;
        test_client_sync_service(owner);
        unsigned n_errors = test_client_count_signals(owner, "Error");
        lose_connections(f->client, listener);
        test_wait_for(test_client_count_signals(owner, "Error") == n_errors + N_LOST);
}

/* A connection waits, and Pending is postponed because the owner does not read. */
typedef struct Due {
        TestClient *owner;
        TestClient *caller;
        char *listener;
        Counted calls; /* the owner's */
        uint64_t before;
} Due;

/* After each call of the caller, another connection waits, which would cause a Pending. */
static void due_set_up(Due *d, Fixture *f) {
        *d = (Due) {
                .owner = test_client_new(f->bus, (uid_t) -1),
                .caller = test_client_new(f->bus, (uid_t) -1),
        };
        d->calls.client = d->owner;
        d->listener = test_listen(d->owner, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(d->owner, d->listener);
        close_fd(test_connect("::1", port));

        call_unread(f, counted_make_introspect, d->owner, N_TO_FILL, &d->calls);
        if (!test_bus_is_broker())
                d->before = get_outgoing_bytes(f->client, d->owner);
        for (unsigned i = 0; i < N_ACCEPTS; i++) {
                close_fd(test_connect("::1", port));
                g_autoptr(GPtrArray) batch = test_accept(d->caller, d->listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
                g_assert_cmpuint(batch->len, ==, 1);
        }
}

static void due_tear_down(Due *d) {
        test_client_free(d->caller);
        test_client_free(d->owner);
        g_free(d->listener);
}

TEST("an unread Pending is postponed until the client has read") {
        g_autoptr(GPtrArray) accepted = NULL;
        unsigned order;
        Due d;

        due_set_up(&d, f);
        assert_spared(f, d.owner, d.before);

        /* The service does not ask the bus all the time. */
        uint64_t start = test_now();
        uint64_t cpu = test_service_cpu_time(f->service);
        test_wait_for(test_now() >= start + SECOND);
        cpu = test_service_cpu_time(f->service) - cpu;
        g_assert_cmpuint(cpu, <, SECOND / 4);

        /* The owner gets Pending when it has read, without a call. */
        if (!test_bus_is_broker()) {
                test_client_set_stalled(d.owner, false);
                do {
                        g_autoptr(TestNotice) pending = test_client_wait_pending(d.owner);

                        order = pending->order;
                } while (d.calls.refused == 0 || order < d.calls.refused);
                recover(d.owner, &d.calls);
                accepted = test_accept(d.owner, d.listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
                g_assert_cmpuint(accepted->len, ==, 1);
        }

        due_tear_down(&d);
}

TEST("the next owner gets a postponed Pending") {
        Due d;

        due_set_up(&d, f);
        g_clear_pointer(&d.owner, test_client_free);
        test_wait_for(!test_has_owner(f->client, d.listener));
        test_listener_call(f->client, d.listener, "Adopt");
        g_autoptr(TestNotice) pending = test_client_wait_pending(f->client);
        g_assert_cmpstr(pending->listener, ==, d.listener);
        g_autoptr(GPtrArray) accepted = test_accept(f->client, d.listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        g_assert_cmpuint(accepted->len, ==, 1);

        due_tear_down(&d);
}

/* Closed is always sent, and the postponed Pending is dropped. */
TEST("Closed is sent to a client that does not read") {
        g_autoptr(TestNotice) closed = NULL;
        Due d;

        due_set_up(&d, f);
        test_listener_call(d.caller, d.listener, "Close");
        recover(d.owner, &d.calls);
        if (!test_bus_is_broker()) {
                closed = test_client_wait_closed(d.owner);
                g_assert_cmpstr(closed->listener, ==, d.listener);
        }

        due_tear_down(&d);
}

/* --- Clients that read --- */

#define FEW_LISTENERS 20U
#define N_AT_ONCE 20000U /* their replies exceed the limit of dbus-daemon */

/* In windows, as a client that reads does. */
static void call_often(TestClient *client, sd_bus_message *(*make)(TestClient *client), unsigned n_calls) {
        Counted calls = {};

        for (unsigned i = 0; i < n_calls; i++) {
                counted_start(&calls, client, make(client));
                if (i % COUNTED_AT_ONCE == COUNTED_AT_ONCE - 1)
                        test_wait_for(calls.n_answered == calls.n_sent);
        }
        test_wait_for(calls.n_answered == calls.n_sent);
        g_assert_cmpuint(calls.n_refused, ==, 0);
        g_assert_cmpuint(calls.n_failed, ==, 0);
}

/* Many programs read and answer no Pings: those that wait for a reply, and those that use jeepney. */
TEST("a client that reads is served without answering Pings") {
        test_client_set_silent(f->client, true);
        for (unsigned i = 0; i < FEW_LISTENERS; i++)
                g_free(test_listen(f->client, 0, -1, NULL));

        call_often(f->client, counted_make_list, 5000);
        call_often(f->client, counted_make_introspect, 5000);
}

/* One list exceeds UNREAD_FREE, and another client of the same user reads nothing. */
TEST("a client that reads is served beside one that does not") {
        g_autoptr(TestClient) staller = test_client_new(f->bus, (uid_t) -1);
        Counted calls = {};

        if (!test_require_descriptors(COUNTED_LISTENERS + 256))
                return;

        for (unsigned i = 0; i < COUNTED_LISTENERS; i++)
                g_free(test_listen(f->client, 0, -1, NULL));
        test_client_set_stalled(staller, true);
        for (unsigned i = 0; i < COUNTED_LISTS; i++)
                counted_start(&calls, staller, counted_make_list(staller));
        (void) sd_bus_flush(test_client_bus(staller));
        test_client_sync_service(f->client);

        for (unsigned i = 0; i < 100; i++)
                sd_bus_message_unref(test_call(f->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                               "ListListeners", ""));
}

static const FixtureOptions session_like = {
        .bus_xml = "<limit name=\"max_replies_per_connection\">50000</limit>",
};

/* On a session bus a client may wait for the answers to as many calls as it likes. */
TEST_ON("20000 calls at once are answered", &session_like) {
        Counted calls = {};

        for (unsigned i = 0; i < N_AT_ONCE; i++)
                counted_start(&calls, f->client, counted_make_introspect(f->client));
        test_wait_for(calls.n_answered == calls.n_sent);
        g_assert_cmpuint(calls.n_failed, ==, 0);
}

TEST("pull is served without answering Pings") {
        test_client_set_silent(f->client, true);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PULL, NULL);
        uint16_t port = test_get_port(f->client, listener);

        for (unsigned i = 0; i < 100; i++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", port);
                g_autoptr(GPtrArray) accepted = test_accept(f->client, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
                Counted calls = {};

                g_assert_cmpuint(accepted->len, ==, 1);
                for (unsigned j = 0; j < COUNTED_AT_ONCE; j++) {
                        sd_bus_message *m = test_message_new(f->client, listener, TEST_LISTENER_INTERFACE,
                                                             "Accept");

                        must(sd_bus_message_append(m, "uu", UINT32_C(1), UINT32_C(0)));
                        counted_start(&calls, f->client, m);
                }
                test_wait_for(calls.n_answered == calls.n_sent);
                g_assert_cmpuint(calls.n_refused + calls.n_failed, ==, 0);
        }
}

TEST("acknowledge is served without answering Pings") {
        test_client_set_silent(f->client, true);
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(f->client, listener);

        for (unsigned i = 0; i < 100; i++) {
                _cleanup_close_ G_GNUC_UNUSED int peer = test_connect("::1", port);
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
                Counted calls = {};

                for (unsigned j = 0; j < COUNTED_AT_ONCE; j++) {
                        sd_bus_message *m = test_message_new(f->client, listener, TEST_LISTENER_INTERFACE,
                                                             "Acknowledge");

                        must(sd_bus_message_append(m, "t", accepted->serial));
                        counted_start(&calls, f->client, m);
                }
                test_wait_for(calls.n_answered == calls.n_sent);
                g_assert_cmpuint(calls.n_refused + calls.n_failed, ==, 0);
        }
}
