/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Persistent listeners and the logout of their user. The test process plays logind; machine/test-logout.c has
 * the real one. */

#include "bus/authority.h"
#include "bus/fixture.h"

#define LOGIND "org.freedesktop.login1"
#define LOGIND_XML                                                   \
        "<policy user=\"root\"><allow own=\"" LOGIND "\"/></policy>" \
        "<policy context=\"default\"><allow send_destination=\"" LOGIND "\"/></policy>"

typedef struct Logind {
        TestClient *client; /* NULL: it is not running */
        bool knows, hangs;
        unsigned n_questions;
        sd_bus_message *held;
} Logind;

typedef struct Logout {
        TestBus *bus;
        Keeper *keeper;
        TestService *service;
        TestClient *polkit, *root, *user;
        uid_t uid; /* the user's */
        Logind logind;
} Logout;

static int reply(const Logind *logind, sd_bus_message *message) {
        return logind->knows ? sd_bus_reply_method_return(message, "o", "/org/freedesktop/login1/user/_1")
                             : sd_bus_reply_method_errorf(message, LOGIND ".NoSuchUser", "No such user");
}

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Logind *logind = userdata;

        if (sd_bus_message_is_method_call(message, LOGIND ".Manager", "GetUser") <= 0)
                return 0;

        logind->n_questions++;
        if (!logind->hangs)
                return reply(logind, message);
        g_assert_null(logind->held);
        logind->held = sd_bus_message_ref(message);
        return 1;
}

static void start_logind(Logout *t) {
        t->logind.client = test_client_new_full(t->bus, (uid_t) -1, TEST_CLIENT_NO_MATCH);
        must(sd_bus_add_filter(test_client_bus(t->logind.client), NULL, on_question, &t->logind));
        test_call_driver(t->logind.client, "RequestName", "su", LOGIND, 0);
}

static void stop_logind(Logout *t) {
        t->logind.held = sd_bus_message_unref(t->logind.held);
        g_clear_pointer(&t->logind.client, test_client_free);
}

static void answer(Logout *t) {
        must(reply(&t->logind, t->logind.held));
        t->logind.held = sd_bus_message_unref(t->logind.held);
}

/* As a broadcast, or to the service alone. */
static void send_removed(TestClient *client, uid_t uid, const char *destination) {
        g_autoptr(sd_bus_message) m = NULL;

        must(sd_bus_message_new_signal(test_client_bus(client), &m, "/org/freedesktop/login1",
                                       LOGIND ".Manager", "UserRemoved"));
        must(sd_bus_message_append(m, "uo", (uint32_t) uid, "/org/freedesktop/login1/user/_1"));
        if (destination)
                must(sd_bus_message_set_destination(m, destination));
        must(sd_bus_send(test_client_bus(client), m, NULL));
        test_client_sync(client);
}

static void log_out(Logout *t) {
        t->logind.knows = false;
        send_removed(t->logind.client, t->uid, NULL);
}

static void start(Logout *t) {
        t->service = keeper_start(t->keeper, t->bus);
}

static void kill_service(Logout *t) {
        (void) test_service_kill(t->service);
        test_process_pending();
        keeper_hear(t->keeper);
        g_clear_pointer(&t->service, test_service_free);
}

static void set_up(Logout *t, const void *data) {
        if (geteuid() != 0)
                return;

        t->bus = test_bus_new(TEST_AUTHORITY_XML LOGIND_XML);
        t->keeper = keeper_new(t->bus);
        t->polkit = test_authority_new(t->bus, NULL, NULL);
        t->root = test_client_new(t->bus, (uid_t) -1);
        t->uid = test_other_uid(0);
        t->logind.knows = true;
        start_logind(t);
        start(t);
        t->user = test_client_new(t->bus, t->uid);
}

static void tear_down(Logout *t, const void *data) {
        if (geteuid() != 0)
                return;

        stop_logind(t);
        g_clear_pointer(&t->user, test_client_free);
        g_clear_pointer(&t->root, test_client_free);
        g_clear_pointer(&t->polkit, test_client_free);
        g_clear_pointer(&t->service, test_service_free);
        keeper_free(t->keeper);
        test_bus_free(t->bus);
}

#define LOGOUT_TEST(sentence) TEST_OF_IF(test_require_root(), sentence, Logout, t, set_up, tear_down, NULL)

/* A persistent listener, when logind has answered. */
static char *listen_persistent(Logout *t, TestClient *client) {
        char *listener = test_listen(client, 0, -1, TEST_PERSISTENT_PULL, NULL);

        test_client_sync_service(client);
        if (t->logind.client)
                test_client_sync(t->logind.client);
        test_client_sync_service(client);
        return listener;
}

static void assert_stays(Logout *t, const char *listener) {
        test_client_sync_service(t->root);
        test_client_sync_service(t->root);
        g_assert_cmpuint(test_get_port(t->root, listener), >, 0);
}

LOGOUT_TEST("the persistent listeners of a user are closed when it logs out, and no others") {
        g_autoptr(TestClient) other = test_client_new(t->bus, test_other_uid(1));
        g_autofree char *first = listen_persistent(t, t->user), *second = listen_persistent(t, t->user);
        g_autofree char *plain = test_listen(t->user, 0, -1, NULL), *others = listen_persistent(t, other);
        g_autofree char *root = listen_persistent(t, t->root);

        log_out(t);
        test_client_expect_closed(t->user, first, "logout");
        test_client_expect_closed(t->user, second, "logout");
        assert_stays(t, plain);
        assert_stays(t, others);
        send_removed(t->logind.client, 0, NULL);
        assert_stays(t, root);
}

LOGOUT_TEST("a listener without an owner is closed as well") {
        g_autofree char *listener = listen_persistent(t, t->user);
        uint16_t port = test_get_port(t->user, listener);

        g_clear_pointer(&t->user, test_client_free);
        test_wait_for(!test_has_owner(t->root, listener));
        log_out(t);
        test_wait_for(!test_service_is_listening(t->service, port));
}

LOGOUT_TEST("a listener stays if logind did not know its user when it was created") {
        t->logind.knows = false;
        g_autofree char *before = listen_persistent(t, t->user);

        t->logind.knows = true;
        g_autofree char *after = listen_persistent(t, t->user);
        log_out(t);
        test_client_expect_closed(t->user, after, "logout");
        assert_stays(t, before);
        kill_service(t);
        start(t);
        assert_stays(t, before);
}

LOGOUT_TEST("logind is asked once while it knows the user, and about no other listeners") {
        g_free(listen_persistent(t, t->root));
        g_free(test_listen(t->user, 0, -1, NULL));
        g_assert_cmpuint(t->logind.n_questions, ==, 0);
        for (unsigned i = 0; i < 3; i++)
                g_free(listen_persistent(t, t->user));
        g_assert_cmpuint(t->logind.n_questions, ==, 1);
}

LOGOUT_TEST("a logout before the answer of logind counts") {
        t->logind.hangs = true;
        g_autofree char *listener = listen_persistent(t, t->user);

        test_wait_for(t->logind.held);
        send_removed(t->logind.client, t->uid, NULL);
        test_client_expect_closed(t->user, listener, "logout");
        t->logind.knows = false;
        answer(t);
        t->logind.hangs = false;
        g_free(listen_persistent(t, t->user));
}

LOGOUT_TEST("logind that hangs delays no call") {
        t->logind.hangs = true;
        for (unsigned i = 0; i < 10; i++)
                g_free(listen_persistent(t, t->user));
        g_assert_cmpuint(t->logind.n_questions, ==, 1);
        answer(t);
        test_wait_for(t->logind.held);
        g_assert_cmpuint(t->logind.n_questions, ==, 2);
}

LOGOUT_TEST("a logout while no process runs is noticed by the next one") {
        g_autofree char *listener = listen_persistent(t, t->user);

        kill_service(t);
        log_out(t);
        start(t);
        test_client_expect_closed(t->user, listener, "logout");
}

LOGOUT_TEST("a logout after a restart of the service is noticed") {
        g_autofree char *listener = listen_persistent(t, t->user);

        kill_service(t);
        start(t);
        assert_stays(t, listener);
        test_wait_for(t->logind.n_questions == 2);
        log_out(t);
        test_client_expect_closed(t->user, listener, "logout");
}

LOGOUT_TEST("a logout during a restart of logind is noticed") {
        g_autofree char *listener = listen_persistent(t, t->user);

        stop_logind(t);
        assert_stays(t, listener);
        t->logind.knows = false;
        start_logind(t);
        test_client_expect_closed(t->user, listener, "logout");
}

LOGOUT_TEST("listeners that are created without logind are asked for when it is there") {
        stop_logind(t);
        g_autofree char *listener = listen_persistent(t, t->user);

        assert_stays(t, listener);
        start_logind(t);
        test_wait_for(t->logind.n_questions == 1);
        assert_stays(t, listener);
        log_out(t);
        test_client_expect_closed(t->user, listener, "logout");
}

LOGOUT_TEST("signals of other senders than logind are ignored") {
        g_autofree char *listener = listen_persistent(t, t->user);

        send_removed(t->root, t->uid, NULL);
        send_removed(t->root, t->uid, TEST_BUS_NAME);
        send_removed(t->user, t->uid, TEST_BUS_NAME);
        assert_stays(t, listener);
        g_assert_false(test_client_is_disconnected(t->user));
}

LOGOUT_TEST("the owner of a taken socket is told before the revocation") {
        g_autofree char *listener = test_listen(t->user, 0, -1, TEST_SOCKET, TEST_PERSISTENT, NULL);
        _cleanup_close_ int socket = test_listener_call_fd(t->user, listener, "TakeSocket");

        test_wait_for(t->logind.n_questions == 1);
        log_out(t);
        test_client_expect_closed(t->user, listener, "logout");
        g_assert_cmpuint(test_wait_fd(socket, POLLIN), !=, 0);
}

LOGOUT_TEST("nothing of logind reaches the service without a persistent listener") {
        g_autofree char *listener = listen_persistent(t, t->user);
        uint64_t waits;

        test_listener_call(t->user, listener, "Close");
        test_client_sync_service(t->user);
        waits = test_service_count_waits(t->service);
        for (unsigned i = 0; i < 100; i++)
                send_removed(t->logind.client, t->uid, NULL);
        g_assert_cmpuint(test_service_count_waits(t->service) - waits, <, 10);
}
