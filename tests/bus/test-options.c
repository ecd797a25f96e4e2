/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The options of Listen. tests/test-options.c tests each value without a bus. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>

#include "bus/fixture.h"

/* --- Refused options; nothing is bound and nothing is kept then --- */

#define NOT_AVAILABLE "org.example.TCPServerSocket.Error.AddressNotAvailable"

/* One Listen() that is going to fail, on a port of its own. */
typedef struct Attempt {
        Fixture *f;
        uint16_t port;
        unsigned n_fds;
        sd_bus_message *message;
} Attempt;

static Attempt attempt_new(Fixture *f) {
        Attempt a = { .f = f, .port = test_free_port() };

        test_client_sync_service(f->client);
        a.n_fds = test_service_count_fds(f->service);
        a.message = test_message_new(f->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "Listen");
        return a;
}

static void attempt_finish(Attempt *a, const char *error, const char *culprit) {
        g_autoptr(TestCall) call = test_call_start(a->f->client, a->message);

        if (!test_call_error(call))
                g_error("Listen accepted a wrong %s", culprit);
        g_assert_cmpstr(test_call_error(call), ==, error);
        if (!strstr(test_call_error_message(call), culprit))
                g_error("\"%s\" does not name %s", test_call_error_message(call), culprit);

        /* The service is through with the call, and with the descriptors that came with it. */
        test_client_sync_service(a->f->client);
        g_assert_false(test_service_is_listening(a->f->service, a->port));
        test_wait_for(test_service_count_fds(a->f->service) == a->n_fds);
}

/* Listen() with these options fails with this error, names the culprit, and leaves nothing behind. */
#define assert_fails(f, error, culprit, ...)                                \
        do {                                                                \
                Attempt _a = attempt_new(f);                                \
                                                                            \
                must(sd_bus_message_append(_a.message, "i", _a.port));      \
                test_message_append_options(_a.message, __VA_ARGS__, NULL); \
                must(sd_bus_message_append(_a.message, "i", -1));           \
                attempt_finish(&_a, error, culprit);                        \
        } while (0)
#define assert_invalid(f, key, ...) assert_fails(f, SD_BUS_ERROR_INVALID_ARGS, key, __VA_ARGS__)

static const struct {
        const char *key;
        const char *type;
} options[] = {
        { "binaryType", "s" },   { "localAddress", "s" }, { "ipv6Only", "b" },   { "interface", "s" },
        { "delivery", "s" },     { "acknowledge", "b" },  { "paused", "b" },     { "persistent", "b" },
        { "nonBlocking", "b" },  { "noDelay", "b" },      { "keepAlive", "b" },  { "deferAccept", "u" },
        { "fastOpen", "u" },     { "allowFrom", "as" },   { "acceptRate", "u" }, { "name", "s" },
        { "channelBatch", "u" }, { "handler", "o" },      { "freeBind", "b" },   { "adopt", "b" },
};

static void assert_wrong_type(Fixture *f, const char *key, const char *type) {
        const char *none[] = { NULL };

        if (streq(type, "s"))
                assert_invalid(f, key, key, "s", "true");
        else if (streq(type, "o"))
                assert_invalid(f, key, key, "o", "/");
        else if (streq(type, "as"))
                assert_invalid(f, key, key, "as", none);
        else if (streq(type, "x") || streq(type, "t"))
                assert_invalid(f, key, key, type, UINT64_C(1));
        else
                assert_invalid(f, key, key, type, 1);
}

TEST("a wrong type is refused for each option") {
        static const char *const types[] = { "b", "y", "n", "q", "i", "u", "x", "t", "s", "o", "as" };

        for (size_t i = 0; i < ELEMENTS(options); i++)
                for (size_t j = 0; j < ELEMENTS(types); j++)
                        if (!streq(types[j], options[i].type) &&
                            !(streq(options[i].type, "u") && strstr("ynqiuxt", types[j])))
                                assert_wrong_type(f, options[i].key, types[j]);
}

TEST("a number may have any integer type that holds it") {
        static const struct {
                const char *type, *key;
                uint64_t value;
                bool fits;
        } cases[] = {
                { "y", "deferAccept", UINT8_MAX, true },
                { "n", "deferAccept", 3600, true },
                { "n", "acceptRate", INT16_MAX, true },
                { "n", "deferAccept", (uint64_t) INT16_MIN, false },
                { "n", "acceptRate", (uint64_t) -1, false },
                { "q", "deferAccept", 3600, true },
                { "q", "acceptRate", UINT16_MAX, true },
                { "q", "deferAccept", UINT16_MAX, false },
                { "i", "deferAccept", 0, true },
                { "i", "fastOpen", INT32_MAX, true },
                { "i", "acceptRate", (uint64_t) -1, false },
                { "i", "acceptRate", (uint64_t) INT32_MIN, false },
                { "u", "acceptRate", UINT32_MAX, true },
                { "u", "fastOpen", UINT32_MAX, false },
                { "x", "acceptRate", UINT32_MAX, true },
                { "x", "acceptRate", UINT64_C(1) << 32, false },
                { "x", "acceptRate", INT64_MAX, false },
                { "x", "acceptRate", (uint64_t) -1, false },
                { "x", "acceptRate", (uint64_t) INT64_MIN, false },
                { "t", "acceptRate", UINT32_MAX, true },
                { "t", "acceptRate", (UINT64_C(1) << 32) + 1, false },
                { "t", "acceptRate", UINT64_C(1) << 63, false },
                { "t", "acceptRate", UINT64_MAX, false },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                bool is_long = strchr("xt", *cases[i].type);
                const char *type = cases[i].type, *key = cases[i].key;
                uint64_t value = cases[i].value;
                g_autofree char *range = g_strdup_printf("%s is not between 0 and", key);

                if (cases[i].fits)
                        g_free(is_long ? test_listen(f->client, 0, -1, key, type, value, NULL)
                                       : test_listen(f->client, 0, -1, key, type, (int) value, NULL));
                else if (is_long)
                        assert_invalid(f, range, key, type, value);
                else
                        assert_invalid(f, range, key, type, (int) value);
        }
        assert_invalid(f, "acceptRate must be an integer", "acceptRate", "s", "1");
        assert_invalid(f, "channelBatch is not between 1 and 32", TEST_CHANNEL, "channelBatch", "i", -1);
}

/* tests/test-options.c has the other wrong values. */
TEST("a wrong value of each option is refused") {
        static const struct {
                const char *key, *value, *error;
        } cases[] = {
                { "binaryType", "blob", SD_BUS_ERROR_INVALID_ARGS },
                { "delivery", "Signal", SD_BUS_ERROR_INVALID_ARGS },
                { "localAddress", "localhost", SD_BUS_ERROR_INVALID_ARGS },
                { "localAddress", "fe80::1%no-such-one", NOT_AVAILABLE },
                { "interface", "a/b", SD_BUS_ERROR_INVALID_ARGS },
                { "interface", "no-such-one", NOT_AVAILABLE },
                { "interface", "lo0", NOT_AVAILABLE }, /* which the kernel would cut short */
                { "name", "two\nlines", SD_BUS_ERROR_INVALID_ARGS },
        };
        const char *prefixes[] = { "192.0.2.0/24", "192.0.2.0/33", NULL }, *many[258] = {};

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                assert_fails(f, cases[i].error, cases[i].key, cases[i].key, "s", cases[i].value);
        assert_invalid(f, "deferAccept", "deferAccept", "u", 3601);
        assert_invalid(f, "fastOpen", "fastOpen", "u", UINT32_MAX);
        assert_invalid(f, "channelBatch", TEST_CHANNEL, "channelBatch", "u", 0);
        assert_invalid(f, "channelBatch", TEST_CHANNEL, "channelBatch", "u", 33);
        assert_invalid(f, "allowFrom", "allowFrom", "as", prefixes);
        for (size_t i = 0; i < 257; i++)
                many[i] = "192.0.2.1";
        assert_invalid(f, "allowFrom", "allowFrom", "as", many);
}

TEST_IF(test_require_private_network(), "contradictions are refused") {
        assert_invalid(f, "ipv6Only", "ipv6Only", "b", true, "localAddress", "s", "127.0.0.1");
        assert_invalid(f, "acknowledge", "delivery", "s", "pull", "acknowledge", "b", true);
        assert_invalid(f, "channelBatch", "channelBatch", "u", 1);
        assert_invalid(f, "channelBatch", "delivery", "s", "pull", "channelBatch", "u", 16);
        assert_invalid(f, "acknowledge", "delivery", "s", "call", "acknowledge", "b", true);
        assert_invalid(f, "handler", "handler", "o", "/org/example/Handler");
        assert_invalid(f, "handler", "delivery", "s", "pull", "handler", "o", "/org/example/Handler");
        assert_invalid(f, "paused", "delivery", "s", "socket", "paused", "b", true);
        assert_invalid(f, "interface", "localAddress", "s", TEST_LINK_LOCAL "%" TEST_INTERFACE, "interface",
                       "s", "lo");
}

TEST("unknown keys are refused") {
        static const char *const keys[] = { "Paused", "nodelay", "noDeley", "localPort", "backlog" };
        g_autofree char *long_key = g_strnfill(5000, 'k');

        for (size_t i = 0; i < ELEMENTS(keys); i++)
                assert_invalid(f, keys[i], keys[i], "b", true);
        assert_invalid(f, "noSuchOne", "name", "s", "right", "noSuchOne", "u", 1, "noDelay", "b", true);
        assert_invalid(f, "option", "", "b", true);
        assert_invalid(f, "option", long_key, "b", true);
        assert_invalid(f, "option", "\x1b[2J", "b", true);
}

TEST("a repeated key is refused") {
        const char *none[] = { NULL };

        assert_invalid(f, "noDelay", "noDelay", "b", true, "noDelay", "b", true);
        assert_invalid(f, "noDelay", "noDelay", "b", false, "paused", "b", true, "noDelay", "b", false);
        assert_invalid(f, "name", "name", "s", "a", "name", "s", "b");
        assert_invalid(f, "binaryType", "binaryType", "s", "string", "binaryType", "s", "string");
        assert_invalid(f, "deferAccept", "deferAccept", "u", 0, "deferAccept", "u", 0);
        assert_invalid(f, "allowFrom", "allowFrom", "as", none, "allowFrom", "as", none);
}

TEST("malformed calls are refused") {
        static const char *const wrong[] = { "", "i", "ia{sv}", "isi", "ua{sv}i", "ia{ss}i", "ia{sv}ii" };

        for (size_t i = 0; i < ELEMENTS(wrong); i++) {
                Attempt a = attempt_new(f);
                const char *types = wrong[i];

                if (streq(types, "i") || streq(types, "ia{sv}") || streq(types, "ia{ss}i") ||
                    streq(types, "ia{sv}ii"))
                        must(sd_bus_message_append(a.message, types, a.port, 0, -1, -1));
                else if (streq(types, "ua{sv}i"))
                        must(sd_bus_message_append(a.message, types, a.port, 0, -1));
                else if (streq(types, "isi"))
                        must(sd_bus_message_append(a.message, types, a.port, "", -1));
                attempt_finish(&a, SD_BUS_ERROR_INVALID_ARGS, "");
        }
}

TEST("a port is free after a refused call") {
        uint16_t port = test_free_port();
        g_autofree char *error = test_listen_fails(f->client, NULL, port, -1, "noSuchOne", "b", true, NULL);
        g_autofree char *listener = test_listen(f->client, port, -1, NULL);
        _cleanup_close_ int peer = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpstr(error, ==, SD_BUS_ERROR_INVALID_ARGS);
        g_assert_cmpstr(accepted->listener, ==, listener);
        test_assert_connected(peer, accepted->socket);
}

/* --- Effects --- */

/* Nothing of what has connected was accepted. */
static void assert_nothing_accepted(Fixture *f, const char *listener) {
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 0);
}

/* A peer connects and its connection is handed over. */
static TestAccepted *accept_one(Fixture *f, const char *listener) {
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        TestAccepted *accepted = test_client_wait_accepted(f->client);

        g_assert_cmpstr(accepted->listener, ==, listener);
        test_assert_connected(peer, accepted->socket);
        return accepted;
}

static int get_no_delay(int fd) {
        return test_get_socket_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

static int get_keep_alive(int fd) {
        return test_get_socket_option(fd, SOL_SOCKET, SO_KEEPALIVE);
}

static int get_non_blocking(int fd) {
        int flags = fcntl(fd, F_GETFL);

        g_assert_no_errno(flags);
        return (flags & O_NONBLOCK) != 0;
}

static const struct {
        const char *key;
        int (*get)(int fd);
} flags[] = {
        { "noDelay", get_no_delay },
        { "keepAlive", get_keep_alive },
        { "nonBlocking", get_non_blocking },
};

TEST("without options, all properties have their defaults") {
        g_autofree char *listener = test_listen(f->client, -1, -1, NULL);
        static const struct {
                const char *property;
                const char *value;
        } texts[] = {
                { "LocalAddress", "::" }, { "Interface", "" }, { "BinaryType", "string" },
                { "Delivery", "signal" }, { "Name", "" },
        };
        static const char *const counters[] = { "Accepted", "Delivered", "Refused", "Lost" };
        g_autofree char *owner = test_get_string(f->client, listener, "Owner");

        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                g_autofree char *value = test_get_string(f->client, listener, texts[i].property);

                g_assert_cmpstr(value, ==, texts[i].value);
        }
        for (size_t i = 0; i < ELEMENTS(counters); i++)
                g_assert_cmpuint(test_get_u64(f->client, listener, counters[i]), ==, 0);
        g_assert_false(test_get_bool(f->client, listener, "Paused"));
        g_assert_false(test_get_bool(f->client, listener, "Persistent"));
        g_assert_cmpuint(test_get_u64(f->client, listener, "OwnerUID"), ==, geteuid());
        g_assert_cmpuint(test_get_u64(f->client, listener, "OwnerPID"), ==, getpid());
        g_assert_cmpstr(owner, ==, test_client_name(f->client));

        g_autoptr(TestAccepted) accepted = accept_one(f, listener);
        g_assert_cmpstr(accepted->binary_type, ==, "string");
        for (size_t i = 0; i < ELEMENTS(flags); i++)
                g_assert_cmpint(flags[i].get(accepted->socket), ==, 0);
}

TEST("noDelay, keepAlive and nonBlocking set one flag each, alone and together") {
        for (unsigned set = 0; set < 1U << ELEMENTS(flags); set++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, flags[0].key, "b", set & 1,
                                                        flags[1].key, "b", (set >> 1) & 1, flags[2].key, "b",
                                                        (set >> 2) & 1, NULL);
                g_autoptr(TestAccepted) accepted = accept_one(f, listener);

                for (size_t i = 0; i < ELEMENTS(flags); i++)
                        g_assert_cmpint(flags[i].get(accepted->socket), ==, (set >> i) & 1);
        }
}

TEST("all descriptors of the service are close-on-exec") {
        g_autoptr(GHashTable) before = test_service_list_fds(f->service), after = NULL;
        g_autofree char *listener = test_listen(f->client, 0, -1, "acknowledge", "b", true, NULL);
        g_autofree char *with_channel = test_listen(f->client, 0, -1, "delivery", "s", "channel", NULL);
        GHashTableIter iterator;
        void *number;

        _cleanup_close_ int lifeline = test_listener_call_fd(f->client, listener, "OpenLifeline");
        _cleanup_close_ int channel = test_listener_call_fd(f->client, with_channel, "OpenChannel");
        /* Until it is acknowledged, the service keeps its own descriptor of the connection. */
        _cleanup_close_ int peer = test_connect("::1", test_get_port(f->client, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        /* Two listening sockets, the connection, and one end each of the lifeline and the channel remain. */
        test_wait_for(test_service_count_fds(f->service) == g_hash_table_size(before) + 5);
        after = test_service_list_fds(f->service);
        g_hash_table_iter_init(&iterator, after);
        while (g_hash_table_iter_next(&iterator, &number, NULL))
                g_assert_cmpint(test_service_get_fd_flags(f->service, GPOINTER_TO_INT(number)) & O_CLOEXEC,
                                ==,
                                g_hash_table_contains(before, number) && GPOINTER_TO_INT(number) <= 2
                                                ? 0
                                                : O_CLOEXEC);
}

TEST("binaryType is a property and a detail of each connection") {
        static const char *const types[] = { "string", "arraybuffer" };

        for (size_t i = 0; i < ELEMENTS(types); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "binaryType", "s", types[i], NULL);
                g_autoptr(TestAccepted) accepted = accept_one(f, listener);

                g_assert_cmpstr(accepted->binary_type, ==, types[i]);
                test_assert_text(test_get_string(f->client, listener, "BinaryType"), types[i]);
        }
}

/* Root sees the listeners of all users, another user its own. */
static char *get_name_in_list(Fixture *f, const char *wanted) {
        g_autoptr(sd_bus_message) reply = test_call(f->client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                    "ListListeners", "");
        char *name = NULL;
        const char *listener, *key, *value;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"), >, 0);
        while (sd_bus_message_enter_container(reply, 'r', "oa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "o", &listener), >, 0);
                g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "{sv}"), >, 0);
                while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
                        g_assert_cmpint(sd_bus_message_read(reply, "s", &key), >, 0);
                        if (streq(key, "Name") && streq(listener, wanted)) {
                                g_assert_null(name);
                                g_assert_cmpint(sd_bus_message_read(reply, "v", "s", &value), >, 0);
                                name = g_strdup(value);
                        } else
                                must(sd_bus_message_skip(reply, "v"));
                        must(sd_bus_message_exit_container(reply));
                }
                must(sd_bus_message_exit_container(reply));
                must(sd_bus_message_exit_container(reply));
        }
        return name;
}

TEST("name is a property and in the list") {
        g_autofree char *longest = g_strnfill(255, 'n');
        const char *const names[] = { "", "shop", "Büro, 端口 \"9\" <&>%s", longest };

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "name", "s", names[i], NULL);
                g_autofree char *property = test_get_string(f->client, listener, "Name");
                g_autofree char *listed = get_name_in_list(f, listener);

                g_assert_cmpstr(property, ==, names[i]);
                g_assert_cmpstr(listed, ==, names[i]);
        }
}

TEST("paused queues until Resume") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "paused", "b", true, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int first = test_connect("::1", port), second = -EBADF;

        g_assert_true(test_get_bool(f->client, listener, "Paused"));
        assert_nothing_accepted(f, listener);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);

        test_listener_call(f->client, listener, "Resume");
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        test_assert_connected(first, accepted->socket);
        g_assert_false(test_get_bool(f->client, listener, "Paused"));
        /* Twice is once. */
        test_listener_call(f->client, listener, "Resume");

        test_listener_call(f->client, listener, "Pause");
        test_listener_call(f->client, listener, "Pause");
        g_assert_true(test_get_bool(f->client, listener, "Paused"));
        second = test_connect("::1", port);
        test_settle(f->client);
        g_assert_cmpuint(test_client_count_accepted(f->client), ==, 0);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 1);
        test_assert_connected(first, accepted->socket);

        test_listener_call(f->client, listener, "Resume");
        test_client_expect_peer(f->client, NULL, second);
}

TEST("deferAccept waits for the first bytes") {
        g_autofree char *listener = test_listen(f->client, 0, -1, "deferAccept", "u", 30, NULL);
        uint16_t port = test_get_port(f->client, listener);
        _cleanup_close_ int silent = test_connect("::1", port), talking = test_connect("::1", port);

        assert_nothing_accepted(f, listener);
        g_assert_cmpuint(test_service_count_queued(f->service, port), ==, 0);

        test_send(talking, "hello", 5);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        g_assert_cmpuint(accepted->remote_port, ==, test_local_port(talking));
        test_expect(accepted->socket, "hello");
        test_assert_connected(talking, accepted->socket);

        test_settle(f->client);
        g_assert_cmpuint(test_get_u64(f->client, listener, "Accepted"), ==, 1);
        test_send(silent, "me too", 6);
        g_clear_pointer(&accepted, test_accepted_free);
        accepted = test_client_wait_accepted(f->client);
        test_expect(accepted->socket, "me too");
}

/* Listens and asks the kernel about that socket. */
static int listen_and_get(Fixture *f, const char *key, uint32_t value, int option) {
        g_autofree char *listener = test_listen(f->client, 0, -1, key, "u", value, NULL);
        _cleanup_close_ int fd = test_service_copy_listening_socket(f->service,
                                                                    test_get_port(f->client, listener));

        test_listener_call(f->client, listener, "Close");
        return fd < 0 ? -1 : test_get_socket_option(fd, IPPROTO_TCP, option);
}

TEST("deferAccept and fastOpen reach the kernel") {
        g_autofree char *somaxconn = test_read_file("/proc/sys/net/core/somaxconn");

        /* It was skipped then. */
        if (listen_and_get(f, "fastOpen", 0, TCP_FASTOPEN) < 0)
                return;

        g_assert_cmpint(listen_and_get(f, "fastOpen", 0, TCP_FASTOPEN), ==, 0);
        g_assert_cmpint(listen_and_get(f, "fastOpen", 5, TCP_FASTOPEN), ==, 5);
        g_assert_cmpint(listen_and_get(f, "fastOpen", INT32_MAX, TCP_FASTOPEN), ==, atoi(somaxconn));

        /* The kernel counts retransmissions, and rounds up. */
        g_assert_cmpint(listen_and_get(f, "deferAccept", 0, TCP_DEFER_ACCEPT), ==, 0);
        g_assert_cmpint(listen_and_get(f, "deferAccept", 1, TCP_DEFER_ACCEPT), ==, 1);
        g_assert_cmpint(listen_and_get(f, "deferAccept", 5, TCP_DEFER_ACCEPT), >=, 5);
        g_assert_cmpint(listen_and_get(f, "deferAccept", 3600, TCP_DEFER_ACCEPT), >=, 3600);
}

/* Both sides, without cookies; in the test's own network. */
static bool enable_fast_open(void) {
        FILE *file = fopen("/proc/sys/net/ipv4/tcp_fastopen", "we");

        if (file && fputs("519", file) >= 0 && fclose(file) == 0)
                return true;
        g_test_skip("needs to change net.ipv4.tcp_fastopen");
        return false;
}

/* A peer's first bytes come along with its SYN, if the listener agrees; they arrive anyway. */
static bool connect_with_data(Fixture *f, const char *listener) {
        _cleanup_close_ int peer = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in6 to = {
                .sin6_family = AF_INET6,
                .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                .sin6_port = htons(test_get_port(f->client, listener)),
        };
        struct tcp_info info = {};
        socklen_t size = sizeof(info);

        g_assert_cmpint(sendto(peer, "early", 5, MSG_FASTOPEN, (struct sockaddr *) &to, sizeof(to)), ==, 5);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);
        test_expect(accepted->socket, "early");
        g_assert_no_errno(getsockopt(accepted->socket, IPPROTO_TCP, TCP_INFO, &info, &size));
        return (info.tcpi_options & TCPI_OPT_SYN_DATA) != 0;
}

TEST("fastOpen takes data with the first packet") {
        if (!test_require_private_network() || !enable_fast_open())
                return;
        g_autofree char *without = test_listen(f->client, 0, -1, NULL);
        g_assert_false(connect_with_data(f, without));
        g_autofree char *with = test_listen(f->client, 0, -1, "fastOpen", "u", 16, NULL);
        g_assert_true(connect_with_data(f, with));
}

TEST("methods of another delivery are refused") {
        static const char *const deliveries[] = { "signal", "pull", "channel", "socket", "call" };
        static const struct {
                const char *member, *types;
                bool works[ELEMENTS(deliveries)];
        } methods[] = {
                { "Acknowledge", "t", {} }, /* needs the option acknowledge */
                { "Accept", "uu", { [1] = true } },
                { "OpenChannel", "", { [2] = true } },
                { "TakeSocket", "", { [3] = true } },
                { "Pause",
                  "",
                  { true, true, true, false, true } }, /* the service does not accept for "socket" */
                { "Resume", "", { true, true, true, false, true } },
        };

        for (size_t i = 0; i < ELEMENTS(deliveries); i++) {
                g_autofree char *listener = test_listen(f->client, 0, -1, "delivery", "s", deliveries[i],
                                                        NULL);
                g_autofree char *delivery = test_get_string(f->client, listener, "Delivery");
                /* The channel ends its listener when the reply is freed. */
                g_autoptr(GPtrArray) calls = g_ptr_array_new_with_free_func((GDestroyNotify) test_call_free);

                g_assert_cmpstr(delivery, ==, deliveries[i]);
                for (size_t j = 0; j < ELEMENTS(methods); j++) {
                        sd_bus_message *m = test_message_new(f->client, listener, TEST_LISTENER_INTERFACE,
                                                             methods[j].member);

                        if (streq(methods[j].types, "t"))
                                must(sd_bus_message_append(m, "t", UINT64_C(1)));
                        else if (streq(methods[j].types, "uu"))
                                must(sd_bus_message_append(m, "uu", 1U, 0U));
                        TestCall *call = test_call_start(f->client, m);
                        g_ptr_array_add(calls, call);
                        g_assert_cmpstr(test_call_error(call), ==,
                                        methods[j].works[i] ? NULL : TEST_WRONG_DELIVERY);
                        if (streq(methods[j].member, "Accept") && !methods[j].works[i])
                                g_assert_nonnull(strstr(test_call_error_message(call), deliveries[i]));
                }
        }
}
