/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Listeners that outlive their owners' connections. */

#include "bus/authority.h"
#include "bus/fixture.h"
#include "bus/network.h"

#define HAS_OWNER "org.example.TCPServerSocket.Error.HasOwner"

static bool is_owned_by(TestClient *client, const char *listener, const char *name) {
        g_autofree char *owner = test_get_string(client, listener, "Owner");

        return streq(owner, name);
}

/* The fixture's client leaves; another client of its uid takes its place. */
static TestClient *replace_client(Fixture *f, const char *listener) {
        TestClient *next = test_client_new(f->bus, (uid_t) -1);

        g_clear_pointer(&f->client, test_client_free);
        test_wait_for(is_owned_by(next, listener, ""));
        return f->client = next;
}

/* The next connection is this peer's. */
static void assert_next(Fixture *f, int peer, uint64_t serial, const char *text) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(peer));
        g_assert_cmpuint(accepted->serial, ==, serial);
        test_expect(accepted->socket, text);
        test_assert_connected(peer, accepted->socket);
}

TEST("the port stays when the owner leaves") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);

        g_assert_true(test_get_bool(f->client, listener, "Persistent"));
        g_assert_true(is_owned_by(f->client, listener, test_client_name(f->client)));

        replace_client(f, listener);
        g_assert_cmpuint(test_get_port(f->client, listener), ==, port);
        g_assert_true(test_service_is_listening(f->service, port));
}

TEST("the port does not stay without the option") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "persistent", "b", false, NULL);
        uint16_t port = test_get_port(f->client, listener);

        g_assert_false(test_get_bool(f->client, listener, "Persistent"));
        test_client_disconnect(f->client);
        test_wait_for(!test_service_is_listening(f->service, port));
}

TEST("another connection adopts the listener and gets its queue") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);
        unsigned fds = test_service_count_fds(f->service);

        /* More than once: an adopter is an owner like the first. */
        for (unsigned round = 0; round < 3; round++) {
                replace_client(f, listener);
                _cleanup_close_ int a = test_connect_and_say(port, "first");
                _cleanup_close_ int b = test_connect_and_say(port, "second");
                _cleanup_close_ int c = test_connect_and_say(port, "third");
                test_client_sync_service(f->client);
                g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 4 * round);
                g_assert_cmpuint(test_service_count_fds(f->service), <=, fds);
                g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);

                test_listener_call(f->client, listener, "Adopt");
                g_assert_true(is_owned_by(f->client, listener, test_client_name(f->client)));
                assert_next(f, a, 4 * round + 1, "first");
                assert_next(f, b, 4 * round + 2, "second");
                assert_next(f, c, 4 * round + 3, "third");
                _cleanup_close_ int later = test_connect_and_say(port, "later");
                assert_next(f, later, 4 * round + 4, "later");
                test_wait_for(test_get_u64(f->client, listener, "Delivered") == 4 * round + 4);
        }
}

/* dbus-broker takes messages over for the owner, and drops them with it. */
TEST("connections that wait in dbus-daemon are delivered again") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autoptr(TestClient) observer = test_client_new(f->bus, (uid_t) -1);
        uint16_t port = test_get_port(f->client, listener);

        if (test_bus_is_broker()) {
                g_test_skip("the bus is dbus-broker");
                return;
        }

        test_clog(f->client, f->bus);
        _cleanup_close_ int a = test_connect_and_say(port, "first"), b = test_connect_and_say(port, "second");
        test_wait_for(test_get_u64(observer, listener, "Accepted") >= 1);

        replace_client(f, listener);
        _cleanup_close_ int queued = test_connect_and_say(port, "queued");
        test_listener_call(f->client, listener, "Adopt");
        assert_next(f, a, 1, "first");
        assert_next(f, b, 2, "second");
        assert_next(f, queued, 3, "queued");
        test_wait_for(test_get_u64(f->client, listener, "Delivered") == 3);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 3);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Lost"), ==, 0);
}

TEST("unacknowledged connections are delivered again") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int a = test_connect_and_say(port, "first"), b = test_connect_and_say(port, "second"),
                            c = test_connect_and_say(port, "third");

        assert_next(f, a, 1, "first");
        test_wait_for(test_client_count_accepted(f->client) == 2);
        sd_bus_message_unref(test_call(f->client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(1)));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Delivered"), ==, 1);

        replace_client(f, listener);
        g_assert_cmpint(test_wait_end(a), ==, 0);
        test_listener_call(f->client, listener, "Adopt");
        assert_next(f, b, 2, "second");
        assert_next(f, c, 3, "third");
        sd_bus_message_unref(test_call(f->client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                       UINT64_C(3)));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Delivered"), ==, 3);
}

/* Whether the last owner has read them or not. */
TEST("connections are delivered again in order") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, TEST_ACKNOWLEDGE, NULL);
        uint16_t port = test_get_port(f->client, listener);
        TestClient *observer = test_client_new(f->bus, (uid_t) -1);
        _cleanup_close_ int a = test_connect_and_say(port, "first"), b = -EBADF, c = -EBADF;

        test_wait_for(test_client_count_accepted(f->client) == 1);
        b = test_connect_and_say(port, "second");
        test_wait_for(test_client_count_accepted(f->client) == 2);
        for (unsigned i = 0; i < 3; i++)
                test_client_sync_service(f->client);
        test_client_set_stalled(f->client, true);
        c = test_connect_and_say(port, "third");
        test_wait_for(test_get_u64(observer, listener, "Accepted") == 3);

        test_client_free(f->client);
        f->client = observer;
        test_wait_for(is_owned_by(observer, listener, ""));
        test_listener_call(observer, listener, "Adopt");
        assert_next(f, a, 1, "first");
        assert_next(f, b, 2, "second");
        assert_next(f, c, 3, "third");
}

TEST("a listener with an owner cannot be adopted") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);

        test_assert_text(test_listener_call_fails(other, listener, "Adopt"), HAS_OWNER);
        test_assert_text(test_listener_call_fails(f->client, listener, "Adopt"), HAS_OWNER);

        _cleanup_close_ int peer = test_connect_and_say(test_get_port(f->client, listener), "for the owner");
        assert_next(f, peer, 1, "for the owner");
        g_assert_cmpuint(test_client_count_signals(other, NULL), ==, 0);
}

TEST("a listener is adopted once") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autoptr(TestClient) late = test_client_new(f->bus, (uid_t) -1);

        replace_client(f, listener);
        test_listener_call(f->client, listener, "Adopt");
        test_assert_text(test_listener_call_fails(late, listener, "Adopt"), HAS_OWNER);
        g_assert_true(is_owned_by(late, listener, test_client_name(f->client)));
}

#define ADOPT TEST_PERSISTENT, "adopt", "b", true

TEST("Listen with the option adopt finds the listener of before") {
        g_autofree char *first = test_listen(f->client, 0, -1, ADOPT, "noDelay", "b", true, NULL);
        uint16_t port = test_get_port(f->client, first);

        /* With an owner, the port is in use. */
        test_assert_text(test_listen_fails(f->client, NULL, port, -1, ADOPT, NULL),
                         SD_BUS_ERROR_ADDRESS_IN_USE);

        replace_client(f, first);
        _cleanup_close_ int waiting = test_connect_and_say(port, "waiting");
        test_assert_text(test_listen_fails(f->client, NULL, port, -1, TEST_PERSISTENT, NULL),
                         SD_BUS_ERROR_ADDRESS_IN_USE);
        test_assert_text(test_listen(f->client, port, -1, ADOPT, NULL), first);
        g_assert_true(is_owned_by(f->client, first, test_client_name(f->client)));
        assert_next(f, waiting, 1, "waiting");

        /* Another address, or a port that the kernel chooses. */
        replace_client(f, first);
        test_assert_text(
                        test_listen_fails(f->client, NULL, port, -1, ADOPT, "localAddress", "s", "::1", NULL),
                        SD_BUS_ERROR_ADDRESS_IN_USE);
        g_autofree char *chosen = test_listen(f->client, 0, -1, ADOPT, NULL);
        g_assert_cmpstr(chosen, !=, first);
        test_assert_text(test_listen(f->client, port, -1, ADOPT, "localAddress", "s", "::", NULL), first);
}

TEST("Listen with the option adopt names an option that differs") {
        g_autofree char *first = test_listen(f->client, 0, -1, TEST_PERSISTENT, "allowFrom", "as",
                                             WORDS("127.0.0.0/8", "::1"), NULL);
        uint16_t port = test_get_port(f->client, first);
        static const struct {
                const char *key, *type, *value;
        } cases[] = {
                { "delivery", "s", "pull" }, { "binaryType", "s", "arraybuffer" }, { "interface", "s", "lo" },
                { "ipv6Only", "b", "" },     { "nonBlocking", "b", "" },           { "acknowledge", "b", "" },
        };

        replace_client(f, first);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                g_autofree char *message = NULL, *name = NULL,
                                *identity = g_strdup_printf("[option-differs listener=%s option=%s]", first,
                                                            cases[i].key);

                if (streq(cases[i].type, "b"))
                        name = test_listen_fails(f->client, &message, port, -1, ADOPT, "allowFrom", "as",
                                                 WORDS("127.0.0.0/8", "::1"), cases[i].key, "b", true, NULL);
                else
                        name = test_listen_fails(f->client, &message, port, -1, ADOPT, "allowFrom", "as",
                                                 WORDS("127.0.0.0/8", "::1"), cases[i].key, "s",
                                                 cases[i].value, NULL);
                g_assert_cmpstr(name, ==, SD_BUS_ERROR_ADDRESS_IN_USE);
                g_assert_true(g_str_has_suffix(message, identity));
        }

        g_autofree char *message = NULL,
                        *name = test_listen_fails(f->client, &message, port, -1, ADOPT, "allowFrom", "as",
                                                  WORDS("127.0.0.0/8"), NULL);
        g_assert_nonnull(strstr(message, "option=allowFrom]"));
        g_assert_true(is_owned_by(f->client, first, ""));
        test_assert_text(test_listen(f->client, port, 5, ADOPT, "name", "s", "new", "keepAlive", "b", true,
                                     "allowFrom", "as", WORDS("127.1.2.3/8", "::1"), NULL),
                         first);
}

TEST_IF(test_require_private_network(), "Listen with the option adopt finds the listener of its interface") {
        g_autofree char *first = test_listen(f->client, 0, -1, TEST_PERSISTENT, "interface", "s", "lo", NULL);
        uint16_t port = test_get_port(f->client, first);
        g_autofree char *second = test_listen(f->client, port, -1, TEST_PERSISTENT, "interface", "s",
                                              TEST_INTERFACE, NULL);

        replace_client(f, first);
        test_assert_text(test_listen(f->client, port, -1, ADOPT, "interface", "s", TEST_INTERFACE, NULL),
                         second);
        test_assert_text(test_listen(f->client, port, -1, ADOPT, "interface", "s", "lo", NULL), first);

        /* No listener is in the way of a new one. */
        test_listener_call(f->client, second, "Close");
        replace_client(f, first);
        g_autofree char *third = test_listen(f->client, port, -1, ADOPT, "interface", "s", TEST_INTERFACE,
                                             NULL);
        g_assert_cmpstr(third, !=, first);
}

TEST_IF(test_require_root(), "Listen with the option adopt finds no listener of another user") {
        g_autoptr(TestClient) other = test_client_new(f->bus, test_other_uid(0));
        g_autofree char *first = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, first);

        replace_client(f, first);
        g_autofree char *name = test_listen_fails(other, NULL, port, -1, ADOPT, NULL);
        g_assert_true(streq(name, SD_BUS_ERROR_ADDRESS_IN_USE) || streq(name, SD_BUS_ERROR_ACCESS_DENIED));
}

static TestAnswer refuse_later(const TestQuestion *question, void *data) {
        unsigned *n_questions = data;

        return (*n_questions)++ == 0 ? TEST_ANSWER_YES : TEST_ANSWER_NO;
}

static const FixtureOptions with_authority = { .bus_xml = TEST_AUTHORITY_XML };

/* As for Adopt: that the listener exists is what polkit has allowed. */
TEST_OF_IF(test_require_root(),
           "Listen with the option adopt asks polkit only for a new listener",
           Fixture,
           f,
           fixture_set_up,
           fixture_tear_down,
           &with_authority) {
        unsigned n_questions = 0;
        g_autoptr(TestClient) polkit = test_authority_new(f->bus, refuse_later, &n_questions);
        uid_t uid = test_other_uid(0);
        TestClient *owner = test_client_new(f->bus, uid);
        g_autoptr(TestClient) next = test_client_new(f->bus, uid);
        g_autofree char *listener = test_listen(owner, 0, -1, ADOPT, NULL);
        uint16_t port = test_get_port(owner, listener);

        g_assert_cmpuint(n_questions, ==, 1);
        test_client_free(owner);
        test_wait_for(is_owned_by(next, listener, ""));
        test_assert_text(test_listen(next, port, -1, ADOPT, NULL), listener);
        g_assert_cmpuint(n_questions, ==, 1);
        /* It is gone, or is at another port. */
        test_assert_text(test_listen_fails(next, NULL, test_free_port(), -1, ADOPT, NULL),
                         SD_BUS_ERROR_ACCESS_DENIED);
        test_listener_call(next, listener, "Close");
        test_assert_text(test_listen_fails(next, NULL, port, -1, ADOPT, NULL), SD_BUS_ERROR_ACCESS_DENIED);
        g_assert_cmpuint(n_questions, ==, 3);
}

TEST("another connection of the user may close it") {
        g_autofree char *owned = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        g_autofree char *left = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t owned_port = test_get_port(f->client, owned), left_port = test_get_port(f->client, left);
        g_autoptr(TestClient) other = test_client_new(f->bus, (uid_t) -1);

        test_listener_call(other, owned, "Close");
        g_assert_false(test_service_is_listening(f->service, owned_port));
        test_client_expect_closed(f->client, owned, "owner");

        replace_client(f, left);
        test_listener_call(f->client, left, "Close");
        g_assert_false(test_service_is_listening(f->service, left_port));
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);
}

TEST("another connection of the user may pause it") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, NULL);
        uint16_t port = test_get_port(f->client, listener);

        replace_client(f, listener);
        test_listener_call(f->client, listener, "Pause");
        _cleanup_close_ int peer = test_connect_and_say(port, "patience");
        test_listener_call(f->client, listener, "Adopt");
        test_client_sync_service(f->client);
        g_assert_true(test_get_bool(f->client, listener, "Paused"));
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(f->client, NULL), ==, 0);

        test_listener_call(f->client, listener, "Resume");
        assert_next(f, peer, 1, "patience");
}

/* A listener without an owner accepts nothing, also after Resume. */
TEST("nothing is accepted without an owner") {
        g_autofree char *listener = test_listen(f->client, 0, -1, TEST_PERSISTENT, TEST_PAUSED, NULL);
        _cleanup_close_ int peer = test_connect_and_say(test_get_port(f->client, listener), "patience");

        replace_client(f, listener);
        test_listener_call(f->client, listener, "Resume");
        test_client_sync_service(f->client);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
        test_listener_call(f->client, listener, "Adopt");
        assert_next(f, peer, 1, "patience");
}

/* Runs a tool that calls Listen and exits. Returns its output between these two texts. */
static char *listen_by_tool(Fixture *f, const char *const *argv, const char *before, const char *after) {
        g_autofree char *address = g_strdup_printf("DBUS_SYSTEM_BUS_ADDRESS=%s", test_bus_address(f->bus));
        g_autofree char *log = g_build_filename(test_bus_directory(f->bus), "tool.log", NULL), *output = NULL;
        const char *const environment[] = { address, NULL };
        const TestSpawn options = { .environment = environment, .log = log };
        g_autoptr(TestChild) child = test_child_new(argv, &options);
        int status = test_child_wait(child);

        output = test_read_file(log);
        if (status != 0)
                g_error("%s ended with status %d: %s", argv[0], status, output);
        char *from = strstr(output, before);
        g_assert_nonnull(from);
        from += strlen(before);
        char *to = strstr(from, after);
        g_assert_nonnull(to);
        return g_strndup(from, (size_t) (to - from));
}

static void assert_stays(Fixture *f, const char *listener) {
        test_wait_for(is_owned_by(f->client, listener, ""));
        uint16_t port = test_get_port(f->client, listener);
        g_assert_true(test_service_is_listening(f->service, port));
        _cleanup_close_ int peer = test_connect_and_say(port, "one-shot");
        test_listener_call(f->client, listener, "Adopt");
        assert_next(f, peer, 1, "one-shot");
}

TEST("a persistent listener outlives busctl") {
        if (!test_require_program("busctl"))
                return;
        g_autofree char *listener = listen_by_tool(f,
                                                   WORDS("busctl", "--system", "--", "call", TEST_BUS_NAME,
                                                         TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen",
                                                         "ia{sv}i", "0", "1", "persistent", "b", "true",
                                                         "-1"),
                                                   "o \"", "\"");
        assert_stays(f, listener);
}
