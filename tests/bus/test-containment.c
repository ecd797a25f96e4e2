/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sockets that are handed over belong to the user of their client, and the service says whether it is
 * contained. The service is root here, and the client another user. */

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "bus/authority.h"
#include "bus/fixture.h"

typedef struct Containment {
        Fixture fixture; /* its client is root's */
        TestClient *polkit, *user;
        uid_t uid; /* the user's */
        unsigned n_questions;
} Containment;

static TestAnswer count_questions(const TestQuestion *question, void *data) {
        Containment *c = data;

        c->n_questions++;
        return TEST_ANSWER_YES;
}

static void set_up(Containment *c, const void *data) {
        static const FixtureOptions options = { .bus_xml = TEST_AUTHORITY_XML };

        if (geteuid() != 0)
                return;

        fixture_set_up(&c->fixture, &options);
        c->polkit = test_authority_new(c->fixture.bus, count_questions, c);
        c->uid = test_other_uid(0);
        c->user = test_client_new(c->fixture.bus, c->uid);
}

static void tear_down(Containment *c, const void *data) {
        if (geteuid() != 0)
                return;

        g_clear_pointer(&c->user, test_client_free);
        g_clear_pointer(&c->polkit, test_client_free);
        fixture_tear_down(&c->fixture, NULL);
}

#define CONTAINMENT_TEST(sentence) \
        TEST_OF_IF(test_require_root(), sentence, Containment, c, set_up, tear_down, NULL)

static void assert_owned(const Containment *c, int fd) {
        struct stat st;

        g_assert_no_errno(fstat(fd, &st));
        g_assert_cmpuint(st.st_uid, ==, c->uid);
}

CONTAINMENT_TEST("a connection belongs to its client's user, by signal") {
        g_autofree char *listener = test_listen(c->user, 0, -1, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(c->user, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(c->user);

        test_assert_connected(peer, accepted->socket);
        assert_owned(c, accepted->socket);
}

CONTAINMENT_TEST("a connection belongs to its client's user, by channel") {
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int channel = test_listener_call_fd(c->user, listener, "OpenChannel");
        _cleanup_close_ int peer = test_connect("::1", test_get_port(c->user, listener));
        uint64_t serial;

        (void) test_wait_fd(channel, POLLIN);
        _cleanup_close_ int fd = test_channel_receive(channel, &serial);
        test_assert_connected(peer, fd);
        assert_owned(c, fd);
}

CONTAINMENT_TEST("a connection belongs to its client's user, by pull") {
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_PULL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(c->user, listener));
        g_autoptr(GPtrArray) accepted = test_accept(c->user, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);

        g_assert_cmpuint(accepted->len, ==, 1);
        const TestAccepted *first = accepted->pdata[0];
        test_assert_connected(peer, first->socket);
        assert_owned(c, first->socket);
}

CONTAINMENT_TEST("a taken socket belongs to its client's user") {
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int fd = test_listener_call_fd(c->user, listener, "TakeSocket");

        assert_owned(c, fd);
}

CONTAINMENT_TEST("after a restart, connections belong to their client's user") {
        Fixture *f = &c->fixture;

        g_clear_pointer(&f->service, test_service_free);
        test_wait_for(!test_bus_service_owner(f->bus));
        g_autoptr(Keeper) keeper = keeper_new(f->bus);
        f->service = keeper_start(keeper, f->bus);
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_ACKNOWLEDGE, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(c->user, listener));
        test_accepted_free(test_client_wait_accepted(c->user));

        (void) test_service_kill(f->service);
        test_process_pending();
        keeper_hear(keeper);
        g_clear_pointer(&f->service, test_service_free);
        f->service = keeper_start(keeper, f->bus);

        /* That of the former process, and a new one. */
        g_autoptr(TestAccepted) again = test_client_wait_accepted(c->user);
        test_assert_connected(peer, again->socket);
        assert_owned(c, again->socket);
        _cleanup_close_ int next = test_connect("::1", test_get_port(c->user, listener));
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(c->user);
        test_assert_connected(next, accepted->socket);
        assert_owned(c, accepted->socket);
        g_clear_pointer(&f->service, test_service_free);
}

/* ---- Without a guard ---- */

/* Runs in the child that becomes the service. */
static void require_containment(void *data) {
        test_mount_configuration("RequireContainment=yes");
}

CONTAINMENT_TEST("a service without a guard is not contained, and says so once") {
        g_assert_false(test_get_bool(c->user, TEST_MANAGER_PATH, "Contained"));
        g_assert_false(test_get_bool(c->user, TEST_MANAGER_PATH, "RequireContainment"));
        g_free(test_listen(c->user, 0, -1, NULL));

        g_autofree char *log = test_service_log(c->fixture.service);
        g_auto(GStrv) parts = g_strsplit(log, "<4>Not contained", -1);
        g_assert_cmpuint(g_strv_length(parts), ==, 2);
}

/* The call must fail; the message is that of the error. */
#define assert_not_contained(call)                                            \
        do {                                                                  \
                g_autofree char *message = NULL;                              \
                test_assert_text(call, SD_BUS_ERROR_ACCESS_DENIED);           \
                g_assert_true(g_str_has_suffix(message, " [not-contained]")); \
        } while (0)

CONTAINMENT_TEST("RequireContainment refuses uncontained sockets to all users but root") {
        static const char *const members[] = { "Adopt", "OpenChannel", "OpenLifeline", "TakeSocket" };

        fixture_restart_service(&c->fixture, &(TestServiceOptions) { .setup = require_containment });
        g_assert_true(test_get_bool(c->user, TEST_MANAGER_PATH, "RequireContainment"));

        c->n_questions = 0;
        assert_not_contained(test_listen_fails(c->user, &message, 0, -1, NULL));
        assert_not_contained(test_listen_fails(c->user, &message, 80, -1, NULL));
        g_autofree char *listener = test_listen(c->fixture.client, 0, -1, NULL);
        for (size_t i = 0; i < ELEMENTS(members); i++)
                assert_not_contained(test_call_fails(c->user, &message, listener, TEST_LISTENER_INTERFACE,
                                                     members[i], ""));
        assert_not_contained(test_call_fails(c->user, &message, listener, TEST_LISTENER_INTERFACE, "Accept",
                                             "uu", 1U, 0U));
        g_assert_cmpuint(c->n_questions, ==, 0);
        g_assert_true(test_service_has_logged(c->fixture.service, "(RequireContainment=yes)"));

        test_assert_served(c->fixture.client, listener, "::1");
}
