/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A restart loses nothing: after a crash, systemctl restart, and an upgrade, all is as it was. */

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/pull.h"
#include "config.h"
#include "machine/machine.h"

/* While this is there, the next process does not start. */
#define GATE "/run/gate"
#define BINARY "/usr/libexec/tcpserversocketd"

/* ---------------------------------------------------------------------- restarts */

typedef struct Restart {
        const char *name;
        void (*begin)(Machine *m); /* returns when the process is gone */
} Restart;

static bool process_is_gone(pid_t pid) {
        return kill(pid, 0) < 0;
}

static void begin_crash(Machine *m) {
        pid_t pid = machine_service_pid();

        g_assert_no_errno(kill(pid, SIGKILL));
        test_wait_for(process_is_gone(pid));
}

static void begin_restart(Machine *m) {
        pid_t pid = machine_service_pid();

        g_free(machine_run("systemctl", "restart", "--no-block", MACHINE_UNIT, NULL));
        test_wait_for(process_is_gone(pid));
}

/* Another version of the program, which is as long as this one. */
static void begin_upgrade(Machine *m) {
        g_free(machine_run("sh", "-c",
                           "sed 's/" PROJECT_VERSION "/9.9.9/g' " BINARY " >" BINARY ".new && "
                           "chmod 0755 " BINARY ".new && mv " BINARY ".new " BINARY,
                           NULL));
        begin_restart(m);
}

static const Restart crash = { "a crash", begin_crash };
static const Restart restart = { "systemctl restart", begin_restart };
static const Restart upgrade = { "an upgrade", begin_upgrade };

static void open_gate(void) {
        g_assert_no_errno(unlink(GATE));
}

/* Peers have the time to connect while nobody is there. */
static void close_gate(void) {
        machine_configure_unit("ExecStartPre=+sh -c 'while [ -e " GATE " ]; do sleep 0.01; done'\n"
                               "NoExecPaths=\nExecPaths=\nLogLevelMax=debug");
        machine_write(GATE, "");
        open_gate();
}

static void begin(Machine *m, const Restart *how) {
        g_assert_no_errno(close(open(GATE, O_WRONLY | O_CREAT | O_CLOEXEC, 0644)));
        how->begin(m);
}

static void finish(Machine *m) {
        unsigned changes = test_bus_owner_changes(m->bus);

        open_gate();
        test_wait_for(test_bus_owner_changes(m->bus) > changes && test_bus_service_owner(m->bus));
}

/* ---------------------------------------------------------------------- what is the same */

typedef struct Seen {
        char *text;
} Seen;

static void seen_clear(Seen *seen) {
        g_free(seen->text);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Seen, seen_clear)

static char *print_string(TestClient *client, const char *listener, const char *property) {
        g_autofree char *value = test_get_string(client, listener, property);

        return g_strdup_printf("%s=%s\n", property, value);
}

static Seen look(TestClient *client, const char *listener) {
        static const char *const strings[] = { "LocalAddress", "BinaryType", "Delivery", "Name", "Owner" };
        static const char *const numbers[] = { "LocalPort", "Backlog", "OwnerUID", "Accepted",
                                               "Delivered", "Refused", "Lost" };
        static const char *const booleans[] = { "Persistent", "Paused" };
        GString *text = g_string_new(NULL);

        for (size_t i = 0; i < ELEMENTS(strings); i++) {
                g_autofree char *line = print_string(client, listener, strings[i]);

                g_string_append(text, line);
        }
        for (size_t i = 0; i < ELEMENTS(numbers); i++)
                g_string_append_printf(text, "%s=%" G_GUINT64_FORMAT "\n", numbers[i],
                                       test_get_u64(client, listener, numbers[i]));
        for (size_t i = 0; i < ELEMENTS(booleans); i++)
                g_string_append_printf(text, "%s=%d\n", booleans[i],
                                       test_get_bool(client, listener, booleans[i]));
        return (Seen) { .text = g_string_free(text, false) };
}

static void assert_same(TestClient *client, const char *listener, const Seen *before) {
        g_auto(Seen) now = look(client, listener);

        g_assert_cmpstr(now.text, ==, before->text);
}

static void assert_pulled(TestClient *client, const char *listener, int peer, uint64_t serial) {
        g_autoptr(GPtrArray) batch = test_accept(client, listener, 1, 10000);
        TestAccepted *accepted;

        g_assert_cmpuint(batch->len, ==, 1);
        accepted = batch->pdata[0];
        g_assert_cmpuint(accepted->serial, ==, serial);
        test_assert_connected(peer, accepted->socket);
}

static void assert_in_channel(int channel, int peer, uint64_t serial) {
        _cleanup_close_ int socket = -EBADF;
        uint64_t received;

        socket = test_channel_receive(channel, &received);
        g_assert_cmpint(socket, >=, 0);
        g_assert_cmpuint(received, ==, serial);
        test_assert_connected(peer, socket);
}

static void assert_accepted(int listening, int peer) {
        _cleanup_close_ int socket = -EBADF;

        g_assert_cmpuint(test_wait_fd(listening, POLLIN), ==, POLLIN);
        socket = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        g_assert_no_errno(socket);
        test_assert_connected(peer, socket);
}

static void assert_version(Machine *m, const char *version) {
        g_autoptr(sd_bus_message)
                        reply = test_call(m->user, TEST_MANAGER_PATH, "org.freedesktop.DBus.Properties",
                                          "Get", "ss", TEST_MANAGER_INTERFACE, "Version");
        const char *value;

        g_assert_cmpint(sd_bus_message_read(reply, "v", "s", &value), >=, 0);
        g_assert_cmpstr(value, ==, version);
}

/* ---------------------------------------------------------------------- tests */

static void test_signals_go_on(Machine *m, const void *data) {
        static const char *const prefixes[] = { "127.0.0.0/8", "2001:db8::/32", "::1", NULL };
        g_autofree char *listener = NULL, *other = NULL;
        _cleanup_close_ int first = -EBADF, second = -EBADF, third = -EBADF;
        g_auto(Seen) before = {}, other_before = {};
        uint16_t port;

        close_gate();
        g_free(test_listen(m->user, 0, -1, NULL)); /* so that the numbers are not those of a new service */
        listener = test_listen(m->user, 0, 17, "binaryType", "s", "arraybuffer", "name", "s", "the same",
                               "allowFrom", "as", prefixes, "nonBlocking", "b", true, "noDelay", "b", true,
                               "acceptRate", "u", 10000, NULL);
        other = test_listen(m->user, 0, -1, "paused", "b", true, "persistent", "b", true, NULL);
        port = test_get_port(m->user, listener);
        first = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, first, 1);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        before = look(m->user, listener);
        other_before = look(m->user, other);

        begin(m, data);
        second = test_connect("127.0.0.1", port);
        finish(m);
        test_client_expect_accepted(m->user, listener, second, 2);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 2);
        assert_same(m->user, other, &other_before);

        third = test_connect("::1", port);
        {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);

                /* The options count for what comes now. */
                g_assert_cmpuint(accepted->serial, ==, 3);
                g_assert_cmpstr(accepted->binary_type, ==, "arraybuffer");
                g_assert_true(fcntl(accepted->socket, F_GETFL) & O_NONBLOCK);
        }
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 3);
        g_assert_cmpuint(test_client_count_signals(m->user, "Closed"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(m->user, "Error"), ==, 0);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Accepted"), ==, 3);

        /* Nobody gets a number of before. */
        g_autofree char *next = test_listen(m->user, 0, -1, NULL);

        g_assert_cmpstr(next, ==, TEST_MANAGER_PATH "/listener/4");
        assert_version(m, data == &upgrade ? "9.9.9" : PROJECT_VERSION);
}

static void test_pull_goes_on(Machine *m, const void *data) {
        g_autofree char *owned = NULL, *persistent = NULL;
        _cleanup_close_ int first = -EBADF, second = -EBADF;
        g_autoptr(TestNotice) pending = NULL;
        uint16_t owned_port, persistent_port;
        g_auto(Seen) before = {};
        TestCall *call;

        close_gate();
        owned = test_listen(m->user, 0, -1, TEST_PULL, NULL);
        persistent = test_listen(m->user, 0, -1, TEST_PERSISTENT_PULL, NULL);
        owned_port = test_get_port(m->user, owned);
        persistent_port = test_get_port(m->user, persistent);
        before = look(m->user, persistent);

        call = test_accept_start(m->user, owned, 1, TEST_ACCEPT_TIMEOUT_MAX);
        test_client_sync_service(m->user);
        begin(m, data);
        /* A process that has the time tells its caller to call again. */
        (void) test_call_wait(call);
        g_assert_cmpstr(test_call_error(call), ==,
                        data == &crash ? "org.freedesktop.DBus.Error.NoReply" : NULL);
        test_call_free(call);

        first = test_connect("::1", owned_port);
        finish(m);
        assert_same(m->user, persistent, &before);
        pending = test_client_wait_pending(m->user);
        g_assert_cmpstr(pending->listener, ==, owned);
        assert_pulled(m->user, owned, first, 1);
        second = test_connect("::1", persistent_port);
        assert_pulled(m->user, persistent, second, 1);
}

static void test_channels_go_on(Machine *m, const void *data) {
        _cleanup_close_ int read = -EBADF, unread = -EBADF, late = -EBADF, last = -EBADF, channel = -EBADF;
        g_autofree char *listener = NULL, *error = NULL;
        g_autoptr(TestNotice) closed = NULL;
        g_auto(Seen) before = {};
        uint16_t port;

        close_gate();
        listener = test_listen(m->user, 0, -1, "delivery", "s", "channel", NULL);
        port = test_get_port(m->user, listener);
        channel = test_listener_call_fd(m->user, listener, "OpenChannel");
        read = test_connect("::1", port);
        assert_in_channel(channel, read, 1);
        unread = test_connect("::1", port);
        test_wait_for(test_get_u64(m->user, listener, "Accepted") == 2);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        before = look(m->user, listener);

        begin(m, data);
        late = test_connect("::1", port);
        assert_in_channel(channel, unread, 2); /* as nobody is needed for that */
        finish(m);
        assert_in_channel(channel, late, 3);
        last = test_connect("::1", port);
        assert_in_channel(channel, last, 4);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 4);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Lost"), ==, 0);

        error = test_listener_call_fails(m->user, listener, "OpenChannel");
        g_assert_cmpstr(error, ==, "org.example.TCPServerSocket.Error.AlreadyTaken");
        channel = close_fd(channel);
        closed = test_client_wait_closed(m->user);
        g_assert_cmpstr(closed->listener, ==, listener);
        g_assert_cmpstr(closed->reason, ==, "owner");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* What is still in a channel after the restart is known to be. */
static void test_unread_ones_are_counted(Machine *m, const void *data) {
        _cleanup_close_ int a = -EBADF, b = -EBADF, channel = -EBADF;
        g_autofree char *listener = NULL;
        g_auto(Seen) before = {};
        uint16_t port;

        close_gate();
        listener = test_listen(m->user, 0, -1, "delivery", "s", "channel", "persistent", "b", true, NULL);
        port = test_get_port(m->user, listener);
        channel = test_listener_call_fd(m->user, listener, "OpenChannel");
        a = test_connect("::1", port);
        b = test_connect("::1", port);
        test_wait_for(test_get_u64(m->user, listener, "Accepted") == 2);
        before = look(m->user, listener);

        begin(m, data);
        finish(m);
        assert_same(m->user, listener, &before);
        assert_in_channel(channel, a, 1);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 1);
        channel = close_fd(channel);
        test_wait_for(test_get_u64(m->user, listener, "Lost") == 1);
        g_assert_cmpuint(test_get_u64(m->user, listener, "Delivered"), ==, 1);
        g_assert_cmpint(test_wait_end(b), ==, 0);

        /* The next program may open another one. */
        channel = test_listener_call_fd(m->user, listener, "OpenChannel");
        a = close_fd(a);
        a = test_connect("::1", port);
        assert_in_channel(channel, a, 3);
}

static void test_sockets_go_on(Machine *m, const void *data) {
        _cleanup_close_ int peer = -EBADF, late = -EBADF, last = -EBADF, listening = -EBADF;
        g_autofree char *listener = NULL;
        g_auto(Seen) before = {};
        uint16_t port;

        close_gate();
        listener = test_listen(m->user, 0, -1, "delivery", "s", "socket", NULL);
        port = test_get_port(m->user, listener);
        listening = test_listener_call_fd(m->user, listener, "TakeSocket");
        peer = test_connect("::1", port);
        assert_accepted(listening, peer);
        before = look(m->user, listener);

        begin(m, data);
        late = test_connect("::1", port);
        assert_accepted(listening, late);
        finish(m);
        assert_same(m->user, listener, &before);
        last = test_connect("::1", port);
        assert_accepted(listening, last);

        /* It can still be taken away. */
        test_listener_call(m->user, listener, "Close");
        g_assert_cmpint(test_connect_fails("::1", port), ==, ECONNREFUSED);
}

/* A program that has not confirmed what it was sent gets it again, as it was. */
static void test_unconfirmed_signals_come_again(Machine *m, const void *data) {
        _cleanup_close_ int a = -EBADF, b = -EBADF, late = -EBADF;
        g_autofree char *listener = NULL;
        uint16_t port;

        close_gate();
        listener = test_listen(m->user, 0, -1, "acknowledge", "b", true, NULL);
        port = test_get_port(m->user, listener);
        a = test_connect("127.0.0.1", port);
        test_client_expect_accepted(m->user, listener, a, 1);
        b = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, b, 2);
        sd_bus_message_unref(test_call(m->user, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(1)));

        begin(m, data);
        late = test_connect("::1", port);
        finish(m);
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

        /* What was let go is nowhere any more. */
        a = close_fd(a);
}

/* A client that answers no Ping; what it has is in doubt, and comes again. */
static void test_signals_without_an_answer_come_again(Machine *m, const void *data) {
        _cleanup_close_ int a = -EBADF, b = -EBADF;
        g_autofree char *listener = NULL;
        uint16_t port;

        close_gate();
        listener = test_listen(m->user, 0, -1, "persistent", "b", true, NULL);
        port = test_get_port(m->user, listener);
        test_client_set_pings(m->user, TEST_PINGS_IGNORE);
        a = test_connect("::1", port);
        b = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, a, 1);

        begin(m, data);
        test_client_set_pings(m->user, TEST_PINGS_ANSWER);
        finish(m);
        for (unsigned n = 0; n < 2;) {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(m->user);

                /* The second one may have been sent before as well. */
                if (accepted->serial != n + 1)
                        continue;
                test_assert_connected(n++ == 0 ? a : b, accepted->socket);
        }
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 2);
}

static void test_unread_replies_come_again(Machine *m, const void *data) {
        _cleanup_close_ int a = -EBADF, b = -EBADF;
        g_autoptr(TestClient) other = NULL;
        g_autofree char *listener = NULL;
        uint16_t port;
        TestCall *call;

        close_gate();
        listener = test_listen(m->user, 0, -1, TEST_PERSISTENT_PULL, NULL);
        port = test_get_port(m->user, listener);
        other = machine_client_new(m, MACHINE_USER);
        test_client_sync_service(other);
        test_client_set_stalled(other, true);
        call = test_accept_start(other, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);
        a = test_connect("::1", port);
        test_wait_for(test_get_u64(m->user, listener, "Accepted") == 1);
        b = test_connect("::1", port);

        begin(m, data);
        test_call_free(call);
        g_clear_pointer(&other, test_client_free);
        finish(m);
        assert_pulled(m->user, listener, a, 1);
        assert_pulled(m->user, listener, b, 2);
        test_wait_for(test_get_u64(m->user, listener, "Delivered") == 2);
}

static void test_who_left_loses_its_listeners(Machine *m, const void *data) {
        g_autofree char *owned = NULL, *persistent = NULL, *bound = NULL, *error = NULL;
        _cleanup_close_ int peer = -EBADF, waiting = -EBADF, pipe_end = -EBADF;
        uint16_t owned_port, persistent_port, bound_port;
        g_autoptr(TestClient) next = NULL;
        int ends[2];

        close_gate();
        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        owned = test_listen(m->user, 0, -1, NULL);
        owned_port = test_get_port(m->user, owned);
        persistent = test_listen(m->user, 0, -1, "persistent", "b", true, NULL);
        persistent_port = test_get_port(m->user, persistent);
        bound = test_listen(m->root, 0, -1, "lifetime", "h", ends[0], NULL);
        bound_port = test_get_port(m->root, bound);
        close(ends[0]);
        pipe_end = ends[1];

        begin(m, data);
        g_clear_pointer(&m->user, test_client_free);
        waiting = test_connect("::1", owned_port);
        peer = test_connect("::1", persistent_port);
        pipe_end = close_fd(pipe_end);
        finish(m);

        next = machine_client_new(m, MACHINE_USER);
        error = test_listener_call_fails(next, owned, "Close");
        g_assert_cmpstr(error, ==, "org.freedesktop.DBus.Error.UnknownObject");
        g_assert_cmpint(test_wait_end(waiting), ==, ECONNRESET);
        g_assert_cmpint(test_connect_fails("::1", owned_port), ==, ECONNREFUSED);
        g_assert_false(test_has_owner(next, persistent));
        test_listener_call(next, persistent, "Adopt");
        test_client_expect_accepted(next, persistent, peer, 1);

        g_autoptr(TestNotice) closed = test_client_wait_closed(m->root);
        g_assert_cmpstr(closed->listener, ==, bound);
        g_assert_cmpstr(closed->reason, ==, "lifetime");
        g_assert_cmpint(test_connect_fails("::1", bound_port), ==, ECONNREFUSED);
}

/* What was granted stays, whatever the configuration has become; who wants more is told so. */
static void test_limits_do_not_close(Machine *m, const void *data) {
        g_autofree char *a = NULL, *b = NULL, *error = NULL;
        _cleanup_close_ int peer = -EBADF;
        uint16_t port;

        close_gate();
        a = test_listen(m->user, 0, -1, NULL);
        b = test_listen(m->user, 0, -1, NULL);
        port = test_get_port(m->user, b);

        begin(m, data);
        machine_configure("MaxListeners=1\nAllowedAddresses=192.0.2.0/24");
        finish(m);
        peer = test_connect("::1", port);
        test_client_expect_accepted(m->user, b, peer, 1);
        error = test_listen_fails(m->user, NULL, 0, -1, "localAddress", "s", "127.0.0.1", NULL);
        g_assert_cmpstr(error, ==, "org.freedesktop.DBus.Error.AccessDenied");
        test_listener_call(m->user, a, "Close");
}

/* Several in a row, without anything in between. */
static void test_many_restarts(Machine *m, const void *data) {
        g_autofree char *listener = NULL;
        g_auto(Seen) before = {};
        uint16_t port;

        machine_configure_unit("RestartSec=1ms");
        listener = test_listen(m->user, 0, -1, "name", "s", "many", NULL);
        port = test_get_port(m->user, listener);
        before = look(m->user, listener);
        for (unsigned n = 1; n <= 4; n++) {
                unsigned changes = test_bus_owner_changes(m->bus);

                g_free(machine_run("systemctl", n % 2 ? "restart" : "try-restart", MACHINE_UNIT, NULL));
                test_wait_for(test_bus_owner_changes(m->bus) >= changes + 2 &&
                              test_bus_service_owner(m->bus));
        }
        assert_same(m->user, listener, &before);

        _cleanup_close_ int peer = test_connect("::1", port);
        test_client_expect_accepted(m->user, listener, peer, 1);
}

/* An upgrade is a restart as well. */
static void add(const char *name, MachineTest test, bool with_upgrade) {
        const Restart *const both[] = { &crash, with_upgrade ? &upgrade : &restart };

        for (size_t i = 0; i < ELEMENTS(both); i++) {
                g_autofree char *path = g_strdup_printf("/restart/%s after %s", name, both[i]->name);

                machine_add_full(path, test, both[i]);
        }
}

int main(int argc, char *argv[]) {
        machine_init(&argc, &argv);

        add("signals go on", test_signals_go_on, true);
        add("pull goes on", test_pull_goes_on, true);
        add("channels go on", test_channels_go_on, true);
        add("unread ones are counted", test_unread_ones_are_counted, false);
        add("sockets go on", test_sockets_go_on, true);
        add("unconfirmed signals come again", test_unconfirmed_signals_come_again, false);
        add("signals without an answer come again", test_signals_without_an_answer_come_again, false);
        add("unread replies come again", test_unread_replies_come_again, false);
        add("who left loses its listeners", test_who_left_loses_its_listeners, false);
        machine_add_full("/restart/limits do not close", test_limits_do_not_close, &restart);
        machine_add("/restart/many in a row", test_many_restarts);
        return test_run();
}
