/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A restart loses nothing: after a crash, systemctl restart, and an upgrade, all is as it was. */

#include "machine/restart.h"

static void test_signals_go_on(Machine *m, const void *data) {
        g_auto(Seen) before = {}, other_before = {};

        restart_prepare();
        g_free(test_listen(m->user, 0, -1, NULL)); /* so that the numbers are not those of a new service */
        g_autofree char *listener = test_listen(
                        m->user, 0, 17, "binaryType", "s", "arraybuffer", "name", "s", "the same",
                        "allowFrom", "as", WORDS("127.0.0.0/8", "2001:db8::/32", "::1"), "nonBlocking", "b",
                        true, "noDelay", "b", true, "acceptRate", "u", 10000, NULL);
        g_autofree char *other = test_listen(m->user, 0, -1, TEST_PAUSED, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int first = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, first, 1);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        before = seen_look(m->user, listener);
        other_before = seen_look(m->user, other);

        restart_begin(m, data);
        _cleanup_close_ int second = test_connect("127.0.0.1", port);
        restart_finish(m);
        test_client_expect_accepted(m->user, listener, second, 2);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 2);
        seen_assert_same(&other_before, m->user, other);

        _cleanup_close_ int third = test_connect("::1", port);
        {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);

                /* The options apply to new connections. */
                g_assert_cmpuint(accepted->serial, ==, 3);
                g_assert_cmpstr(accepted->binary_type, ==, "arraybuffer");
                g_assert_true(fcntl(accepted->socket, F_GETFL) & O_NONBLOCK);
        }
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 3);
        g_assert_cmpuint(test_client_count_signals(m->user, "Closed"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(m->user, "Error"), ==, 0);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Accepted"), ==, 3);

        /* Numbers of listeners are not used again. */

        test_assert_text(test_listen(m->user, 0, -1, NULL), TEST_MANAGER_PATH "/listener/4");
        restart_assert_version(m, data);
}

static void test_pull_goes_on(Machine *m, const void *data) {
        g_auto(Seen) before = {};

        restart_prepare();
        g_autofree char *owned = test_listen(m->user, 0, -1, TEST_PULL, NULL);
        g_autofree char *persistent = test_listen(m->user, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t owned_port = test_get_port(m->user, owned);
        uint16_t persistent_port = test_get_port(m->user, persistent);
        before = seen_look(m->user, persistent);

        TestCall *call = test_accept_start(m->user, owned, 1, TEST_ACCEPT_TIMEOUT_MAX);
        test_client_sync_service(m->user);
        restart_begin(m, data);
        /* A process that has the time tells its caller to call again. */
        (void) test_call_wait(call);
        g_assert_cmpstr(test_call_error(call), ==,
                        data == &restart_crash ? "org.freedesktop.DBus.Error.NoReply" : NULL);
        test_call_free(call);

        _cleanup_close_ int first = test_connect("::1", owned_port);
        restart_finish(m);
        seen_assert_same(&before, m->user, persistent);
        g_autoptr(TestNotice) pending = test_client_wait_pending(m->user);
        g_assert_cmpstr(pending->listener, ==, owned);
        restart_assert_pulled(m->user, owned, first, 1);
        _cleanup_close_ int second = test_connect("::1", persistent_port);
        restart_assert_pulled(m->user, persistent, second, 1);
}

static void test_channels_go_on(Machine *m, const void *data) {
        g_auto(Seen) before = {};

        restart_prepare();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_CHANNEL, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int channel = test_listener_call_fd(m->user, listener, "OpenChannel");
        _cleanup_close_ int read = test_connect("::1", port);
        restart_assert_in_channel(channel, read, 1);
        _cleanup_close_ int unread = test_connect("::1", port);
        test_wait_for(test_get_u64(m->user, listener, "Accepted") == 2);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        before = seen_look(m->user, listener);

        restart_begin(m, data);
        _cleanup_close_ int late = test_connect("::1", port);
        restart_assert_in_channel(channel, unread, 2); /* which needs no process */
        restart_finish(m);
        restart_assert_in_channel(channel, late, 3);
        _cleanup_close_ int last = test_connect("::1", port);
        restart_assert_in_channel(channel, last, 4);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 4);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Lost"), ==, 0);

        test_assert_text(test_listener_call_fails(m->user, listener, "OpenChannel"),
                         "org.example.TCPServerSocket.Error.AlreadyTaken");
        channel = close_fd(channel);
        test_client_expect_closed(m->user, listener, "owner");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* Connections that are still in a channel after the restart are not delivered again. */
static void test_unread_ones_are_counted(Machine *m, const void *data) {
        g_auto(Seen) before = {};

        restart_prepare();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_CHANNEL, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int channel = test_listener_call_fd(m->user, listener, "OpenChannel");
        _cleanup_close_ int a = test_connect("::1", port);
        _cleanup_close_ int b = test_connect("::1", port);
        test_wait_for(test_get_u64(m->user, listener, "Accepted") == 2);
        before = seen_look(m->user, listener);

        restart_begin(m, data);
        restart_finish(m);
        seen_assert_same(&before, m->user, listener);
        restart_assert_in_channel(channel, a, 1);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        channel = close_fd(channel);
        test_wait_for(test_get_u64(m->user, listener, "Lost") == 1);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Delivered"), ==, 1);
        g_assert_cmpint(test_wait_end(b), ==, 0);

        /* The next program may open another one. */
        channel = test_listener_call_fd(m->user, listener, "OpenChannel");
        a = close_fd(a);
        a = test_connect("::1", port);
        restart_assert_in_channel(channel, a, 3);
}

static void test_sockets_go_on(Machine *m, const void *data) {
        g_auto(Seen) before = {};

        restart_prepare();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_SOCKET, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int listening = test_listener_call_fd(m->user, listener, "TakeSocket");
        _cleanup_close_ int peer = test_connect("::1", port);
        restart_assert_accepted(listening, peer);
        before = seen_look(m->user, listener);

        restart_begin(m, data);
        _cleanup_close_ int late = test_connect("::1", port);
        restart_assert_accepted(listening, late);
        restart_finish(m);
        seen_assert_same(&before, m->user, listener);
        _cleanup_close_ int last = test_connect("::1", port);
        restart_assert_accepted(listening, last);

        /* It can still be taken away. */
        test_listener_call(m->user, listener, "Close");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* The owner has been told, and its socket is not revoked yet. */
static void test_closing_ones_end(Machine *m, const void *data) {
        restart_prepare();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_SOCKET, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int listening = test_listener_call_fd(m->user, listener, "TakeSocket");
        g_autoptr(TestCall) close = test_call_start(
                        m->root, test_message_new(m->root, listener, TEST_LISTENER_INTERFACE, "Close"));
        test_client_expect_closed(m->user, NULL, "administrator");

        restart_begin(m, data);
        (void) test_call_wait(close);
        g_assert_cmpstr(test_call_error(close), ==, SD_BUS_ERROR_NO_REPLY);
        restart_finish(m);
        test_client_expect_closed(m->user, listener, "administrator");
        test_assert_text(test_listener_call_fails(m->user, listener, "TakeSocket"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);

        (void) test_wait_fd(listening, POLLIN);
        g_assert_cmpint(accept4(listening, NULL, NULL, SOCK_CLOEXEC), ==, -1);
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* A program that has not confirmed what it was sent gets it again, as it was. */
static void test_unconfirmed_signals_come_again(Machine *m, const void *data) {
        restart_prepare();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int a = test_connect("127.0.0.1", port);
        test_client_expect_accepted(m->user, listener, a, 1);
        _cleanup_close_ int b = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, b, 2);
        sd_bus_message_unref(test_call(m->user, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(1)));

        restart_begin(m, data);
        _cleanup_close_ int late = test_connect("::1", port);
        restart_finish(m);
        {
                g_autoptr(TestAccepted) again = test_client_wait_accepted(m->user);

                g_assert_cmpuint(again->serial, ==, 2);
                g_assert_cmpstr(again->remote_address, ==, "::1");
                g_assert_cmpuint(again->remote_port, ==, test_local_port(b));
                g_assert_cmpstr(again->local_address, ==, "::1");
                g_assert_cmpuint(again->local_port, ==, port);
                test_assert_connected(b, again->socket);
        }
        test_client_expect_accepted(m->user, listener, late, 3);
        sd_bus_message_unref(test_call(m->user, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(3)));
        g_assert_cmpuint(test_get_u64(m->user, listener, "Accepted"), ==, 3);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Delivered"), ==, 3);
        g_assert_cmpuint(test_client_count_accepted(m->user), ==, 0);

        /* No descriptor of them is left. */
        a = close_fd(a);
}

/* Also by a bus with the installed policy. */
static void test_unanswered_calls_come_again(Machine *m, const void *data) {
        restart_prepare();
        test_client_set_calls(m->user, TEST_CALLS_HOLD);
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_CALL, "handler", "o",
                                                "/com/example/Handler", NULL);
        uint16_t port = test_get_port(m->user, listener);
        _cleanup_close_ int a = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, a, 1);
        _cleanup_close_ int b = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, b, 2);
        test_client_answer_call(m->user, NULL);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);

        restart_begin(m, data);
        _cleanup_close_ int late = test_connect("::1", port);
        test_client_set_calls(m->user, TEST_CALLS_ANSWER);
        restart_finish(m);
        {
                g_autoptr(TestAccepted) again = test_client_wait_accepted(m->user);

                g_assert_cmpuint(again->serial, ==, 2);
                g_assert_cmpstr(again->handler, ==, "/com/example/Handler");
                test_assert_connected(b, again->socket);
        }
        test_client_expect_accepted(m->user, listener, late, 3);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 3);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Accepted"), ==, 3);
}

static void test_unread_replies_come_again(Machine *m, const void *data) {
        restart_prepare();
        g_autofree char *listener = test_listen(m->user, 0, -1, TEST_PERSISTENT_PULL, NULL);
        uint16_t port = test_get_port(m->user, listener);
        g_autoptr(TestClient) other = machine_client_new(m, MACHINE_USER);
        test_client_sync_service(other);
        test_clog(other, m->bus);
        TestCall *call = test_accept_start(other, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        _cleanup_close_ int a = test_connect("::1", port);
        test_wait_for(test_get_u64(m->user, listener, "Accepted") == 1);
        _cleanup_close_ int b = test_connect("::1", port);

        restart_begin(m, data);
        test_call_free(call);
        g_clear_pointer(&other, test_client_free);
        restart_finish(m);
        restart_assert_pulled(m->user, listener, a, 1);
        restart_assert_pulled(m->user, listener, b, 2);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 2);
}

static void test_who_left_loses_its_listeners(Machine *m, const void *data) {
        restart_prepare();
        g_autofree char *owned = test_listen(m->user, 0, -1, NULL);
        uint16_t owned_port = test_get_port(m->user, owned);
        g_autofree char *persistent = test_listen(m->user, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t persistent_port = test_get_port(m->user, persistent);
        g_autofree char *bound = test_listen(m->root, 0, -1, NULL);
        uint16_t bound_port = test_get_port(m->root, bound);
        _cleanup_close_ int lifeline = test_listener_call_fd(m->root, bound, "OpenLifeline");

        restart_begin(m, data);
        g_clear_pointer(&m->user, test_client_free);
        _cleanup_close_ int waiting = test_connect("::1", owned_port);
        _cleanup_close_ int peer = test_connect("::1", persistent_port);
        lifeline = close_fd(lifeline);
        restart_finish(m);

        g_autoptr(TestClient) next = machine_client_new(m, MACHINE_USER);
        test_assert_text(test_listener_call_fails(next, owned, "Close"),
                         "org.freedesktop.DBus.Error.UnknownObject");
        g_assert_cmpint(test_wait_end(waiting), ==, ECONNRESET);
        g_assert_cmpint(test_connect_fails("::1", owned_port), ==, ECONNREFUSED);
        g_assert_false(test_has_owner(next, persistent));
        test_listener_call(next, persistent, "Adopt");
        test_client_expect_accepted(next, persistent, peer, 1);

        test_client_expect_closed(m->root, bound, "lifeline");
        g_assert_cmpint(test_connect_fails("::1", bound_port), ==, ECONNREFUSED);
}

/* Existing listeners stay under lower limits; new ones are refused. */
static void test_limits_do_not_close(Machine *m, const void *data) {
        restart_prepare();
        g_autofree char *a = test_listen(m->user, 0, -1, NULL);
        g_autofree char *b = test_listen(m->user, 0, -1, NULL);
        uint16_t port = test_get_port(m->user, b);

        restart_begin(m, data);
        machine_configure("MaxListeners=1\nAllowedAddresses=192.0.2.0/24");
        restart_finish(m);
        _cleanup_close_ int peer = test_connect("::1", port);
        test_client_expect_accepted(m->user, b, peer, 1);
        test_assert_text(test_listen_fails(m->user, NULL, 0, -1, "localAddress", "s", "127.0.0.1", NULL),
                         "org.freedesktop.DBus.Error.AccessDenied");
        test_listener_call(m->user, a, "Close");
}

/* Several in a row, without anything in between. */
static void test_many_restarts(Machine *m, const void *data) {
        g_auto(Seen) before = {};

        machine_configure_unit("RestartSec=1ms");
        g_autofree char *listener = test_listen(m->user, 0, -1, "name", "s", "many", NULL);
        uint16_t port = test_get_port(m->user, listener);
        before = seen_look(m->user, listener);
        for (unsigned n = 1; n <= 4; n++) {
                unsigned changes = test_bus_owner_changes(m->bus);

                g_free(machine_run("systemctl", n % 2 ? "restart" : "try-restart", MACHINE_UNIT, NULL));
                test_wait_for(test_bus_owner_changes(m->bus) >= changes + 2 &&
                              test_bus_service_owner(m->bus));
        }
        seen_assert_same(&before, m->user, listener);

        _cleanup_close_ int peer = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, peer, 1);
}

/* An upgrade is a restart as well. */
static void add(const char *name, MachineTest test, bool with_upgrade) {
        const Restart *const both[] = { &restart_crash,
                                        with_upgrade ? &restart_upgrade : &restart_by_systemctl };

        for (size_t i = 0; i < ELEMENTS(both); i++) {
                g_autofree char *path = g_strdup_printf("/restart/%s after %s", name, both[i]->name);

                machine_add_full(path, test, both[i]);
        }
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);

        add("signals continue", test_signals_go_on, true);
        add("pull continues", test_pull_goes_on, true);
        add("channels continue", test_channels_go_on, true);
        add("unread connections of channels are counted", test_unread_ones_are_counted, false);
        add("sockets continue", test_sockets_go_on, true);
        add("listeners in their grace period end", test_closing_ones_end, false);
        add("unacknowledged connections are delivered again", test_unconfirmed_signals_come_again, false);
        add("calls without an answer are made again", test_unanswered_calls_come_again, false);
        /* dbus-broker takes them over, and they end with their client. */
        if (!test_bus_is_broker())
                add("connections in unread replies are delivered again", test_unread_replies_come_again,
                    false);
        add("listeners of clients that left are closed", test_who_left_loses_its_listeners, false);
        machine_add_full("/restart/lower limits do not close listeners", test_limits_do_not_close,
                         &restart_by_systemctl);
        machine_add_full("/restart/many restarts in a row lose nothing", test_many_restarts, NULL);
        return test_run();
}
