/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A listener obeys its owner alone, and its user may see it. The service runs as an ordinary user here, so
 * that there are, apart from the owner: another connection of its uid, another user, and root. */

#include <grp.h>
#include <pwd.h>
#include <sys/syscall.h>

#include "bus/authority.h"
#include "bus/fixture.h"

#define LISTENERS TEST_MANAGER_PATH "/listener"

typedef struct Privacy {
        TestBus *bus;
        TestService *service;
        TestClient *owner, *sibling, *stranger, *root;
        uid_t uid; /* the service's */
        gid_t gid;
        char *program; /* of the service, where other users may execute it */
} Privacy;

static void become(void *data) {
        const struct passwd *user = data;

        g_assert_no_errno(setgroups(0, NULL));
        g_assert_no_errno(setresgid(user->pw_gid, user->pw_gid, user->pw_gid));
        g_assert_no_errno(setresuid(user->pw_uid, user->pw_uid, user->pw_uid));
}

/* The build directory may be where only root can go. */
static void copy_program(Privacy *p) {
        g_autofree char *directory = test_make_directory("program"), *contents = NULL;
        g_autoptr(GError) error = NULL;
        size_t size;

        p->program = g_build_filename(directory, "tcpserversocketd", NULL);
        (void) g_file_get_contents(g_getenv("TEST_SERVICE"), &contents, &size, &error);
        g_assert_no_error(error);
        (void) g_file_set_contents_full(p->program, contents, (ssize_t) size, G_FILE_SET_CONTENTS_NONE, 0755,
                                        &error);
        g_assert_no_error(error);
}

static void set_up(Privacy *p, const void *data) {
        g_autofree char *original = g_strdup(g_getenv("TEST_SERVICE"));
        struct passwd user;

        if (geteuid() != 0)
                return;

        user = *getpwuid(test_other_uid(0));
        user.pw_name = g_strdup(user.pw_name);
        p->uid = user.pw_uid;
        p->gid = user.pw_gid;
        copy_program(p);
        p->bus = test_bus_new_for_user(NULL, user.pw_name);
        g_setenv("TEST_SERVICE", p->program, true);
        p->service = test_service_new(p->bus, &(TestServiceOptions) { .setup = become, .data = &user });
        g_setenv("TEST_SERVICE", original, true);
        p->owner = test_client_new(p->bus, user.pw_uid);
        p->sibling = test_client_new(p->bus, user.pw_uid);
        p->stranger = test_client_new(p->bus, test_other_uid(1));
        p->root = test_client_new(p->bus, 0);
        g_free(user.pw_name);
}

static void tear_down(Privacy *p, const void *data) {
        test_client_free(p->owner);
        test_client_free(p->sibling);
        test_client_free(p->stranger);
        test_client_free(p->root);
        test_service_free(p->service);
        test_bus_free(p->bus);
        g_free(p->program);
}

/* ---- Signals ---- */

/* To set another user's limits takes that user, or more than root has in most containers. */
static void limit_fds(Privacy *p, unsigned limit) {
        g_assert_no_errno(syscall(SYS_setresgid, p->gid, -1, -1));
        g_assert_no_errno(syscall(SYS_setresuid, p->uid, -1, -1));
        test_service_limit_fds(p->service, limit);
        g_assert_no_errno(syscall(SYS_setresuid, 0, -1, -1));
        g_assert_no_errno(syscall(SYS_setresgid, 0, -1, -1));
}

/* The number that the service's next descriptor gets. */
static unsigned next_fd(Privacy *p) {
        for (unsigned fd = 0;; fd++) {
                g_autofree char *path = g_strdup_printf("/proc/%d/fd/%u", (int) test_service_pid(p->service),
                                                        fd);

                if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK))
                        return fd;
        }
}

/* No descriptor is left for the connection: an Error, and the connection once there is one. */
static void provoke_error(Privacy *p, const char *listener) {
        test_wait_for(test_get_u64(p->owner, listener, "Delivered") == 1);
        limit_fds(p, next_fd(p));
        _cleanup_close_ int peer = test_connect("127.0.0.1", test_get_port(p->owner, listener));
        g_autoptr(TestError) error = test_client_wait_error(p->owner);
        g_assert_cmpstr(error->listener, ==, listener);
        limit_fds(p, 256);
        test_client_expect_peer(p->owner, NULL, peer);
}

#define TEST_HERE(sentence) TEST_OF_IF(test_require_root(), sentence, Privacy, p, set_up, tear_down, NULL)

TEST_HERE("signals reach only the owner") {
        TestClient *others[] = { p->sibling, p->stranger, p->root };

        for (size_t i = 0; i < ELEMENTS(others); i++)
                test_client_match_everything(others[i]);

        g_autofree char *listener = test_listen(p->owner, 0, -1, NULL);
        test_assert_served(p->owner, listener, "127.0.0.1");
        provoke_error(p, listener);
        test_listener_call(p->owner, listener, "Close");
        test_client_expect_closed(p->owner, NULL, "owner");

        for (size_t i = 0; i < ELEMENTS(others); i++) {
                test_client_sync(others[i]);
                g_assert_cmpuint(test_client_count_signals(others[i], NULL), ==, 0);
        }
        g_assert_cmpuint(test_client_count_overheard(p->owner), ==, 0);
}

/* On this bus all clients may send signals, also in the name of the bus. */
TEST_HERE("forged NameOwnerChanged signals are ignored") {
        sd_bus_message *m = NULL;

        g_autofree char *listener = test_listen(p->owner, 0, -1, NULL);

        must(sd_bus_message_new_signal(test_client_bus(p->stranger), &m, "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "NameOwnerChanged"));
        must(sd_bus_message_set_destination(m, test_bus_service_owner(p->bus)));
        must(sd_bus_message_append(m, "sss", test_client_name(p->owner), test_client_name(p->owner), ""));
        must(sd_bus_send(test_client_bus(p->stranger), m, NULL));
        sd_bus_message_unref(m);
        test_client_sync_service(p->stranger);

        test_assert_served(p->owner, listener, "127.0.0.1");
}

/* ---- Calls ---- */

/* A caller that may see the listener is denied the call. For other callers, there is no such listener. */
static const char *get_expected_error(const Privacy *p, const TestClient *client) {
        return client == p->stranger ? SD_BUS_ERROR_UNKNOWN_OBJECT : SD_BUS_ERROR_ACCESS_DENIED;
}

static void assert_may_not_use(Privacy *p, TestClient *client, const char *listener) {
        static const char *const members[] = { "Adopt", "Pause", "Resume", "OpenChannel", "TakeSocket" };
        const char *expected = get_expected_error(p, client);

        for (size_t i = 0; i < ELEMENTS(members); i++)
                test_assert_text(test_listener_call_fails(client, listener, members[i]), expected);
        test_assert_text(test_call_fails(client, NULL, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                         UINT64_C(1)),
                         expected);
        test_assert_text(test_call_fails(client, NULL, listener, TEST_LISTENER_INTERFACE, "Accept", "uu", 1U,
                                         0U),
                         expected);
}

static void assert_may_not_close(Privacy *p, TestClient *client, const char *listener) {
        test_assert_text(test_listener_call_fails(client, listener, "Close"), get_expected_error(p, client));
}

static void assert_may_not_read(Privacy *p, TestClient *client, const char *listener) {
        static const char *const interfaces[] = { TEST_LISTENER_INTERFACE, "" };
        const char *expected = get_expected_error(p, client);

        for (size_t i = 0; i < ELEMENTS(interfaces); i++) {
                test_assert_text(test_call_fails(client, NULL, listener, "org.freedesktop.DBus.Properties",
                                                 "Get", "ss", interfaces[i], "LocalPort"),
                                 expected);
                test_assert_text(test_call_fails(client, NULL, listener, "org.freedesktop.DBus.Properties",
                                                 "GetAll", "s", interfaces[i]),
                                 expected);
        }
}

TEST_HERE("only the owner may use a listener") {
        g_autofree char *listener = test_listen(p->owner, 0, -1, "name", "s", "seen", NULL);
        g_autofree char *acknowledged = test_listen(p->owner, 0, -1, TEST_ACKNOWLEDGE, NULL);
        test_assert_served(p->owner, acknowledged, "127.0.0.1");
        for (unsigned i = 0; i < 2; i++) {
                TestClient *other = i == 0 ? p->sibling : p->stranger;

                assert_may_not_use(p, other, listener);
                assert_may_not_use(p, other, acknowledged);
                assert_may_not_close(p, other, listener);
        }
        assert_may_not_read(p, p->stranger, listener);
        g_autofree char *name = test_get_string(p->sibling, listener, "Name");
        g_assert_cmpstr(name, ==, "seen");

        g_assert_false(test_get_bool(p->owner, listener, "Paused"));
        g_assert_cmpuint(test_get_u64(p->owner, acknowledged, "Delivered"), ==, 0);
        test_assert_served(p->owner, listener, "127.0.0.1");
}

/* The service does not know the uid of a connection at its first call. */
TEST_HERE("the first call of a connection is denied, too") {
        g_autofree char *listener = test_listen(p->owner, 0, -1, NULL);
        assert_may_not_close(p, p->sibling, listener);
        assert_may_not_read(p, p->stranger, listener);
        test_assert_served(p->owner, listener, "127.0.0.1");
}

TEST_HERE("root may read and close a listener, and no more") {
        g_autofree char *listener = test_listen(p->owner, 0, -1, "name", "s", "mine", NULL);
        assert_may_not_use(p, p->root, listener);
        g_autofree char *name = test_get_string(p->root, listener, "Name");
        g_assert_cmpstr(name, ==, "mine");
        test_assert_served(p->owner, listener, "127.0.0.1");

        test_listener_call(p->root, listener, "Close");
        test_client_expect_closed(p->owner, listener, "administrator");
        g_assert_cmpuint(test_client_count_signals(p->root, NULL), ==, 0);
}

TEST_HERE("only its uid may use a persistent listener") {
        g_autofree char *listener = test_listen(p->owner, 0, -1, TEST_PERSISTENT, NULL);
        assert_may_not_use(p, p->root, listener);
        assert_may_not_use(p, p->stranger, listener);
        assert_may_not_close(p, p->stranger, listener);
        assert_may_not_read(p, p->stranger, listener);

        test_client_disconnect(p->owner);
        test_wait_for(!test_has_owner(p->sibling, listener));
        assert_may_not_use(p, p->root, listener);
        assert_may_not_use(p, p->stranger, listener);
        assert_may_not_close(p, p->stranger, listener);
        assert_may_not_read(p, p->stranger, listener);
        test_listener_call(p->sibling, listener, "Adopt");
}

/* ---- Listings ---- */

/* ListListeners, or introspection, returns these paths and no others. */
static void assert_lists(TestClient *client, const char *const *expected) {
        g_autoptr(sd_bus_message) reply = test_call(client, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                                    "ListListeners", "");
        g_autoptr(GHashTable) listed = g_hash_table_new(g_str_hash, g_str_equal);
        const char *path;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(oa{sv})"), >, 0);
        while (sd_bus_message_enter_container(reply, 'r', "oa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "o", &path), >, 0);
                must(sd_bus_message_skip(reply, "a{sv}"));
                must(sd_bus_message_exit_container(reply));
                g_assert_true(g_strv_contains(expected, path) && g_hash_table_add(listed, (char *) path));
        }
        g_assert_cmpuint(g_hash_table_size(listed), ==, g_strv_length((char **) expected));
}

static void assert_finds(TestClient *client, const char *const *expected) {
        g_autoptr(sd_bus_message) reply = test_call(client, LISTENERS, "org.freedesktop.DBus.Introspectable",
                                                    "Introspect", "");
        unsigned n = g_strv_length((char **) expected);
        const char *xml;

        g_assert_cmpint(sd_bus_message_read(reply, "s", &xml), >, 0);
        g_auto(GStrv) parts = g_strsplit(xml, "<node name=", -1);
        g_assert_cmpuint(g_strv_length(parts) - 1, ==, n);
        for (; *expected; expected++) {
                g_autofree char *node = g_strdup_printf("<node name=\"%s\"",
                                                        *expected + strlen(LISTENERS "/"));

                if (!strstr(xml, node))
                        g_error("%s is not in: %s", node, xml);
        }
}

TEST_HERE("lists and introspection have only listeners of the caller's user") {
        g_autofree char *first = test_listen(p->owner, 0, -1, NULL);
        g_autofree char *second = test_listen(p->owner, 0, -1, NULL);
        g_autofree char *siblings = test_listen(p->sibling, 0, -1, NULL);
        g_autofree char *persistent = test_listen(p->owner, 0, -1, TEST_PERSISTENT, NULL);
        TestClient *clients[] = { p->owner, p->sibling, p->root };

        for (size_t i = 0; i < ELEMENTS(clients); i++) {
                assert_lists(clients[i], WORDS(first, second, siblings, persistent));
                assert_finds(clients[i], WORDS(first, second, siblings, persistent));
        }
        assert_lists(p->stranger, WORDS(NULL));
        assert_finds(p->stranger, WORDS(NULL));

        test_listener_call(p->owner, first, "Close");
        assert_lists(p->owner, WORDS(second, siblings, persistent));
}

/* The first call of the connection, as with "busctl tree". */
TEST_HERE("introspection shows all listeners to root") {
        g_autofree char *listener = test_listen(p->owner, 0, -1, NULL);
        g_autofree char *siblings = test_listen(p->sibling, 0, -1, NULL);
        assert_finds(p->root, WORDS(listener, siblings));
}

/* ---- Strangers ---- */

TEST_HERE("an unidentified caller is not logged as root") {
        g_autoptr(GPtrArray) calls = g_ptr_array_new_with_free_func((GDestroyNotify) test_call_free);
        unsigned n_refused = 0;

        g_autoptr(TestClient) newcomer = test_client_new(p->bus, test_other_uid(1));
        /* So that it has all of them before the bus has answered it. */
        g_assert_no_errno(kill(test_service_pid(p->service), SIGSTOP));
        for (unsigned i = 0; i < 120; i++)
                g_ptr_array_add(calls, test_call_start(newcomer, test_message_new(newcomer, TEST_MANAGER_PATH,
                                                                                  TEST_MANAGER_INTERFACE,
                                                                                  "ListListeners")));
        test_client_sync(newcomer);
        g_assert_no_errno(kill(test_service_pid(p->service), SIGCONT));
        for (unsigned i = 0; i < calls->len; i++) {
                (void) test_call_wait(calls->pdata[i]);
                n_refused += g_strcmp0(test_call_error(calls->pdata[i]), SD_BUS_ERROR_LIMITS_EXCEEDED) == 0;
        }
        g_assert_cmpuint(n_refused, >, 0);
        g_assert_false(test_service_has_logged(p->service, "user 0"));
}

/* A client can lock the filter of its socket before the service does, which is logged. */
TEST_HERE("a port that the client keeps is logged") {
        static const int on = 1;

        g_autofree char *listener = test_listen(p->owner, 0, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int socket = test_listener_call_fd(p->owner, listener, "TakeSocket");
        g_assert_no_errno(setsockopt(socket, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)));
        g_assert_no_errno(setsockopt(socket, SOL_SOCKET, SO_BINDTODEVICE, "lo", strlen("lo")));
        test_listener_call(p->owner, listener, "Close");
        test_wait_for(test_service_has_logged(p->service, "its holder can keep the port"));
        g_assert_false(test_service_is_listening(p->service, test_local_port(socket)));
}

/* ---- Listeners of other users ---- */

/* The service is root here, and polkit wants a password for everything but Listen. */
typedef struct Secret {
        Fixture fixture;
        TestClient *polkit, *owner, *stranger;
        char *listener;
        char *absent;       /* the path of a listener that does not exist */
        GString *questions; /* about the action "manage" */
} Secret;

static TestAnswer record_question(const TestQuestion *question, void *data) {
        Secret *s = data;

        if (!g_str_has_suffix(question->action, ".manage"))
                return TEST_ANSWER_YES;
        g_string_append_printf(s->questions, "%s%s\n", question->interactive ? "dialog " : "",
                               question->details);
        return question->interactive ? TEST_ANSWER_NO : TEST_ANSWER_CHALLENGE;
}

static void secret_set_up(Secret *s, const void *data) {
        static const FixtureOptions options = { .bus_xml = TEST_AUTHORITY_XML };

        if (geteuid() != 0)
                return;

        fixture_set_up(&s->fixture, &options);
        s->questions = g_string_new(NULL);
        s->polkit = test_authority_new(s->fixture.bus, record_question, s);
        s->owner = test_client_new(s->fixture.bus, test_other_uid(0));
        s->stranger = test_client_new(s->fixture.bus, test_other_uid(1));
        s->listener = test_listen(s->owner, 0, -1, "name", "s", "secret", NULL);
        s->absent = g_strdup_printf("%s7", s->listener);
}

static void secret_tear_down(Secret *s, const void *data) {
        if (geteuid() != 0)
                return;

        g_clear_pointer(&s->stranger, test_client_free);
        g_clear_pointer(&s->owner, test_client_free);
        g_clear_pointer(&s->polkit, test_client_free);
        g_free(s->listener);
        g_free(s->absent);
        g_string_free(s->questions, true);
        fixture_tear_down(&s->fixture, NULL);
}

#define TEST_SECRET(sentence) \
        TEST_OF_IF(test_require_root(), sentence, Secret, s, secret_set_up, secret_tear_down, NULL)

typedef struct SecretCall {
        const char *interface, *member, *types, *first, *second;
        bool interactive;
} SecretCall;

/* The reply as text, with "PATH" for the path. */
static char *describe_reply(Secret *s, const SecretCall *c, const char *path) {
        sd_bus_message *m = test_message_new(s->stranger, path, c->interface, c->member), *reply;
        g_autoptr(TestCall) call = NULL;
        const char *xml = "";

        must(sd_bus_message_set_allow_interactive_authorization(m, c->interactive));
        if (c->types && streq(c->types, "uu"))
                must(sd_bus_message_append(m, "uu", 1U, 0U));
        else if (c->types && streq(c->types, "t"))
                must(sd_bus_message_append(m, "t", UINT64_C(1)));
        else if (c->types && streq(c->types, "ssv"))
                must(sd_bus_message_append(m, "ssv", c->first, c->second, "s", "x"));
        else if (c->types)
                must(sd_bus_message_append(m, c->types, c->first, c->second));
        call = test_call_start(s->stranger, m);
        reply = test_call_wait(call);
        if (!test_call_error(call) && streq(c->member, "Introspect"))
                must(sd_bus_message_read(reply, "s", &xml));

        g_autofree char *text = g_strdup_printf("%s %s%s", test_call_error(call) ?: "success",
                                                test_call_error_message(call) ?: "", xml);
        g_auto(GStrv) parts = g_strsplit(text, path, -1);
        return g_strjoinv("PATH", parts);
}

static void assert_alike(Secret *s, const SecretCall *c) {
        g_autofree char *absent = describe_reply(s, c, s->absent), *existing = NULL;

        existing = describe_reply(s, c, s->listener);
        if (!streq(existing, absent))
                g_error("%s.%s(%s): \"%s\" and \"%s\"", c->interface, c->member, c->types ?: "", existing,
                        absent);
}

TEST_SECRET("a stranger cannot find out whether a listener exists") {
        static const char *const members[] = { "Close",       "Adopt",       "Pause",        "Resume",
                                               "Accept",      "OpenChannel", "OpenLifeline", "TakeSocket",
                                               "Acknowledge", "NoSuchOne" };
        static const char *const interfaces[] = { TEST_LISTENER_INTERFACE, "", "org.example.Other",
                                                  "org.freedesktop.DBus.Peer" };
        static const char *const properties[] = { "LocalPort", "Owner", "NoSuchOne", "Close", "" };
        static const char *const types[] = { NULL, "uu", "t", "s", "ss" };

        for (size_t i = 0; i < ELEMENTS(members); i++)
                for (size_t n = 0; n < 2 * ELEMENTS(types); n++)
                        assert_alike(s, &(SecretCall) { TEST_LISTENER_INTERFACE, members[i], types[n / 2], "",
                                                        "", n % 2 });
        for (size_t i = 0; i < ELEMENTS(interfaces); i++) {
                assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.Properties", "GetAll", "s",
                                                interfaces[i] });
                for (size_t n = 0; n < ELEMENTS(properties); n++) {
                        assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.Properties", "Get", "ss",
                                                        interfaces[i], properties[n] });
                        assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.Properties", "Set", "ssv",
                                                        interfaces[i], properties[n] });
                }
        }
        assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.Properties", "Get", "s", "" });
        assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.Introspectable", "Introspect" });
        assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.ObjectManager", "GetManagedObjects" });
        assert_alike(s, &(SecretCall) { "org.freedesktop.DBus.Peer", "Ping" });
        assert_alike(s, &(SecretCall) { "org.example.Other", "Close" });

        g_free(test_listen(s->owner, 0, -1, NULL));
        g_assert_cmpuint(test_get_port(s->owner, s->listener), >, 0);
}

TEST_SECRET("polkit's rules see another user's listener, and its agent does not") {
        static const SecretCall end = { TEST_LISTENER_INTERFACE, "Close", .interactive = true };
        static const SecretCall get = { "org.freedesktop.DBus.Properties", "GetAll", "s", "" };
        uint16_t port = test_get_port(s->owner, s->listener);

        g_free(describe_reply(s, &end, s->listener));
        g_free(describe_reply(s, &end, s->absent));
        g_free(describe_reply(s, &get, s->listener));
        g_free(describe_reply(s, &get, s->absent));

#define MESSAGE                                                                                      \
        " polkit.message=Authentication is required to close listener $(listener), of another user." \
        " polkit.gettext_domain=tcpserversocket\n"
        g_autofree char *expected = g_strdup_printf(
                        "listener=1 port=%u address=:: name=secret" MESSAGE "dialog listener=1" MESSAGE
                        "listener=17 port= address= name=" MESSAGE "dialog listener=17" MESSAGE
                        "listener=1 port=%u address=:: name=secret\n"
                        "listener=17 port= address= name=\n",
                        port, port);
        g_assert_cmpstr(s->questions->str, ==, expected);
}

TEST_SECRET("a program that closes its listener twice is told so, without a dialog") {
        test_listener_call(s->owner, s->listener, "Close");
        test_assert_text(test_listener_call_fails(s->owner, s->listener, "Close"),
                         SD_BUS_ERROR_UNKNOWN_OBJECT);
        g_assert_null(strstr(s->questions->str, "dialog"));
        g_assert_false(test_service_has_logged(s->fixture.service, "Denied"));
}
