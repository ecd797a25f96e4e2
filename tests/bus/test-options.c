/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What Listen refuses about its options. After each refusal nothing is bound and nothing is kept. What the
 * options do is in test-options-effects.c. */

#include <fcntl.h>
#include <gio/gio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/fixture.h"

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
                g_error("Listen took what is wrong with %s", culprit);
        g_assert_cmpstr(test_call_error(call), ==, error);
        if (!strstr(test_call_error_message(call), culprit))
                g_error("\"%s\" does not name %s", test_call_error_message(call), culprit);

        /* The service is through with the call, and with the descriptors that came with it. */
        test_client_sync_service(a->f->client);
        g_assert_false(test_service_is_listening(a->f->service, a->port));
        test_wait_for(test_service_count_fds(a->f->service) == a->n_fds);
}

/* Listen() with these options fails with this error, names the culprit, and leaves nothing behind. */
#define assert_fails(f, error, culprit, ...)                                             \
        do {                                                                             \
                Attempt _a = attempt_new(f);                                             \
                                                                                         \
                g_assert_cmpint(sd_bus_message_append(_a.message, "i", _a.port), >=, 0); \
                test_message_append_options(_a.message, __VA_ARGS__, NULL);              \
                g_assert_cmpint(sd_bus_message_append(_a.message, "i", -1), >=, 0);      \
                attempt_finish(&_a, error, culprit);                                     \
        } while (0)
#define assert_invalid(f, key, ...) assert_fails(f, SD_BUS_ERROR_INVALID_ARGS, key, __VA_ARGS__)

static const struct {
        const char *key;
        const char *type;
} options[] = {
        { "binaryType", "s" },  { "localAddress", "s" }, { "ipv6Only", "b" },   { "interface", "s" },
        { "delivery", "s" },    { "acknowledge", "b" },  { "paused", "b" },     { "lifetime", "h" },
        { "persistent", "b" },  { "nonBlocking", "b" },  { "noDelay", "b" },    { "keepAlive", "b" },
        { "deferAccept", "u" }, { "fastOpen", "u" },     { "allowFrom", "as" }, { "acceptRate", "u" },
        { "name", "s" },
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

TEST("a wrong type is refused, whatever the option") {
        static const char *const types[] = { "b", "y", "n", "q", "i", "u", "x", "t", "s", "o", "h", "as" };

        for (size_t i = 0; i < ELEMENTS(options); i++)
                for (size_t j = 0; j < ELEMENTS(types); j++)
                        if (!streq(types[j], options[i].type))
                                assert_wrong_type(f, options[i].key, types[j]);
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
        assert_invalid(f, "allowFrom", "allowFrom", "as", prefixes);
        for (size_t i = 0; i < 257; i++)
                many[i] = "192.0.2.1";
        assert_invalid(f, "allowFrom", "allowFrom", "as", many);
}

TEST("lifetime must be something that ends") {
        static const struct {
                const char *path;
                int flags;
        } files[] = {
                { "/proc/self/exe", O_RDONLY },
                { "/", O_RDONLY | O_DIRECTORY },
                { "/dev/null", O_RDWR },
        };

        for (size_t i = 0; i < ELEMENTS(files); i++) {
                _cleanup_close_ int fd = open(files[i].path, files[i].flags | O_CLOEXEC);

                g_assert_no_errno(fd);
                assert_invalid(f, "lifetime", "lifetime", "h", fd);
        }
}

/* To ask what watches others is to ask these, of which one may be a file that never answers. */
TEST("lifetime must be nothing that watches others") {
        _cleanup_close_ int epoll = epoll_create1(EPOLL_CLOEXEC), inotify = inotify_init1(IN_CLOEXEC);
        struct epoll_event event = { .events = EPOLLIN };
        int ends[2];

        g_assert_no_errno(epoll);
        g_assert_no_errno(inotify);
        assert_invalid(f, "lifetime", "lifetime", "h", epoll);
        assert_invalid(f, "lifetime", "lifetime", "h", inotify);

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        g_assert_no_errno(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event));
        assert_invalid(f, "lifetime", "lifetime", "h", epoll);
        (void) close_fd(ends[0]);
        (void) close_fd(ends[1]);
}

/* Such a descriptor is a name of a file and nothing that could be open. */
TEST("lifetime is not merely a path") {
        g_autofree char *fifo = g_build_filename(test_bus_directory(f->bus), "fifo", NULL);
        const char *const paths[] = { "/", "/proc/self/exe", fifo };

        g_assert_no_errno(mkfifo(fifo, 0600));
        for (size_t i = 0; i < ELEMENTS(paths); i++) {
                _cleanup_close_ int fd = open(paths[i], O_PATH | O_CLOEXEC);

                g_assert_no_errno(fd);
                assert_invalid(f, "lifetime", "lifetime", "h", fd);
        }
}

TEST("contradictions are refused") {
        assert_invalid(f, "ipv6Only", "ipv6Only", "b", true, "localAddress", "s", "127.0.0.1");
        assert_invalid(f, "acknowledge", "delivery", "s", "pull", "acknowledge", "b", true);
        assert_invalid(f, "paused", "delivery", "s", "socket", "paused", "b", true);
        if (!test_require_private_network())
                return;
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

TEST("a key counts once") {
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        const char *none[] = { NULL };

        g_assert_no_errno(fd);
        assert_invalid(f, "noDelay", "noDelay", "b", true, "noDelay", "b", true);
        assert_invalid(f, "noDelay", "noDelay", "b", false, "paused", "b", true, "noDelay", "b", false);
        assert_invalid(f, "name", "name", "s", "a", "name", "s", "b");
        assert_invalid(f, "binaryType", "binaryType", "s", "string", "binaryType", "s", "string");
        assert_invalid(f, "deferAccept", "deferAccept", "u", 0, "deferAccept", "u", 0);
        assert_invalid(f, "allowFrom", "allowFrom", "as", none, "allowFrom", "as", none);
        /* The bus passes on no call with two descriptors. */
        assert_fails(f, SD_BUS_ERROR_ACCESS_DENIED, "", "lifetime", "h", fd, "lifetime", "h", fd);
}

/* What was taken in before the refusal is let go, too. */
TEST("a late refusal keeps nothing of what came before") {
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC);
        const char *prefixes[] = { "192.0.2.0/24", NULL };

        g_assert_no_errno(fd);
        for (unsigned i = 0; i < 16; i++)
                assert_invalid(f, "noSuchOne", "lifetime", "h", fd, "allowFrom", "as", prefixes, "name", "s",
                               "name", "noSuchOne", "b", true);
}

TEST("malformed calls are refused") {
        static const char *const wrong[] = { "", "i", "ia{sv}", "isi", "ua{sv}i", "ia{ss}i", "ia{sv}ii" };

        for (size_t i = 0; i < ELEMENTS(wrong); i++) {
                Attempt a = attempt_new(f);
                const char *types = wrong[i];

                if (streq(types, "i") || streq(types, "ia{sv}") || streq(types, "ia{ss}i") ||
                    streq(types, "ia{sv}ii"))
                        g_assert_cmpint(sd_bus_message_append(a.message, types, a.port, 0, -1, -1), >=, 0);
                else if (streq(types, "ua{sv}i"))
                        g_assert_cmpint(sd_bus_message_append(a.message, types, a.port, 0, -1), >=, 0);
                else if (streq(types, "isi"))
                        g_assert_cmpint(sd_bus_message_append(a.message, types, a.port, "", -1), >=, 0);
                attempt_finish(&a, SD_BUS_ERROR_INVALID_ARGS, "");
        }
}

/* A number of a descriptor that did not come with the message. sd-bus would not send that; GDBus does. */
TEST("a descriptor that is missing is refused") {
        Attempt a = attempt_new(f);
        g_autoptr(GDBusConnection) connection = NULL;
        g_autoptr(GVariant) reply = NULL;
        g_autoptr(GError) error = NULL;
        g_autofree char *name = NULL;
        GVariantBuilder builder;

        a.message = sd_bus_message_unref(a.message);
        connection = g_dbus_connection_new_for_address_sync(
                        test_bus_address(f->bus),
                        G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                        G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                        NULL, NULL, &error);
        g_assert_no_error(error);

        g_variant_builder_init(&builder, G_VARIANT_TYPE("a{sv}"));
        g_variant_builder_add(&builder, "{sv}", "lifetime", g_variant_new_handle(7));
        reply = g_dbus_connection_call_sync(connection, TEST_BUS_NAME, TEST_MANAGER_PATH,
                                            TEST_MANAGER_INTERFACE, "Listen",
                                            g_variant_new("(ia{sv}i)", a.port, &builder, -1), NULL,
                                            G_DBUS_CALL_FLAGS_NONE, TEST_DEADLINE_MS, NULL, &error);
        g_assert_null(reply);
        name = g_dbus_error_get_remote_error(error);
        g_assert_cmpstr(name, ==, SD_BUS_ERROR_INVALID_ARGS);
        g_assert_nonnull(strstr(error->message, "lifetime"));
        g_assert_false(test_service_is_listening(f->service, a.port));
        g_assert_cmpuint(test_service_count_fds(f->service), ==, a.n_fds);
        g_assert_true(g_dbus_connection_close_sync(connection, NULL, NULL));
}

TEST("a refused port can be had at once") {
        uint16_t port = test_free_port();
        g_autofree char *error = test_listen_fails(f->client, NULL, port, -1, "noSuchOne", "b", true, NULL);
        g_autofree char *listener = test_listen(f->client, port, -1, NULL);
        _cleanup_close_ int peer = test_connect("::1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(f->client);

        g_assert_cmpstr(error, ==, SD_BUS_ERROR_INVALID_ARGS);
        g_assert_cmpstr(accepted->listener, ==, listener);
        test_assert_connected(peer, accepted->socket);
}
