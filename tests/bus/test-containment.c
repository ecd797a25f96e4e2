/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sockets that are handed over belong to the user of their client. The service is root here, and the client
 * another user. */

#include <sys/stat.h>

#include "bus/authority.h"
#include "bus/fixture.h"

typedef struct Containment {
        Fixture fixture; /* its client is root's */
        TestClient *polkit, *user;
        uid_t uid; /* the user's */
} Containment;

static void set_up(Containment *c, const void *data) {
        static const FixtureOptions options = { .bus_xml = TEST_AUTHORITY_XML };

        if (geteuid() != 0)
                return;

        fixture_set_up(&c->fixture, &options);
        c->polkit = test_authority_new(c->fixture.bus, NULL, NULL);
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

        assert_owned(c, accepted->socket);
}

CONTAINMENT_TEST("a connection belongs to its client's user, by channel") {
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_CHANNEL, NULL);
        _cleanup_close_ int channel = test_listener_call_fd(c->user, listener, "OpenChannel");
        _cleanup_close_ int peer = test_connect("::1", test_get_port(c->user, listener));
        uint64_t serial;

        (void) test_wait_fd(channel, POLLIN);
        _cleanup_close_ int fd = test_channel_receive(channel, &serial);
        assert_owned(c, fd);
}

CONTAINMENT_TEST("a connection belongs to its client's user, by pull") {
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_PULL, NULL);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(c->user, listener));
        g_autoptr(GPtrArray) accepted = test_accept(c->user, listener, 1, TEST_ACCEPT_TIMEOUT_MAX);

        g_assert_cmpuint(accepted->len, ==, 1);
        assert_owned(c, ((const TestAccepted *) accepted->pdata[0])->socket);
}

CONTAINMENT_TEST("a taken socket belongs to its client's user") {
        g_autofree char *listener = test_listen(c->user, 0, -1, TEST_SOCKET, NULL);
        _cleanup_close_ int fd = test_listener_call_fd(c->user, listener, "TakeSocket");

        assert_owned(c, fd);
}
