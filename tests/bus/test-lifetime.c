/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The option lifetime: the end of a descriptor is the end of the listener. */

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/fixture.h"

typedef struct Lifetime {
        Fixture base;
        unsigned n_fds; /* of the service, before there was a listener */
        int given;      /* what Listen() got, and we have closed */
        int ours;       /* the other end, or -1 */
        char *listener;
        uint16_t port;
} Lifetime;

static void set_up(Lifetime *l, const void *data) {
        fixture_set_up(&l->base, NULL);
        test_client_sync_service(l->base.client);
        l->n_fds = test_service_count_fds(l->base.service);
        l->given = l->ours = -EBADF;
}

static void tear_down(Lifetime *l, const void *data) {
        g_free(l->listener);
        close_fd(l->given);
        close_fd(l->ours);
        fixture_tear_down(&l->base, NULL);
}

/* The service's copy is the only one from then on, as when a client keeps the other end alone. */
static void listen_with(Lifetime *l, int given, int ours) {
        l->ours = ours;
        l->listener = test_listen(l->base.client, 0, -1, "lifetime", "h", given, NULL);
        close(given);
        l->port = test_get_port(l->base.client, l->listener);
}

static void assert_goes_on(Lifetime *l) {
        _cleanup_close_ int peer = test_connect("::1", l->port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(l->base.client);

        test_assert_connected(peer, accepted->socket);
        test_client_sync_service(l->base.client);
        g_assert_cmpuint(test_client_count_signals(l->base.client, "Closed"), ==, 0);
}

static void assert_ends(Lifetime *l) {
        g_autoptr(TestNotice) notice = test_client_wait_closed(l->base.client);
        g_autofree char *error = NULL;

        g_assert_cmpstr(notice->listener, ==, l->listener);
        g_assert_cmpstr(notice->reason, ==, "lifetime");
        g_assert_false(test_service_is_listening(l->base.service, l->port));
        g_assert_cmpint(test_connect_fails("::1", l->port), ==, ECONNREFUSED);
        error = test_listener_call_fails(l->base.client, l->listener, "Close");
        g_assert_cmpstr(error, ==, SD_BUS_ERROR_UNKNOWN_OBJECT);

        /* Once only, and nothing is kept. */
        test_client_sync_service(l->base.client);
        g_assert_cmpuint(test_client_count_signals(l->base.client, "Closed"), ==, 1);
        g_assert_cmpuint(test_client_count_signals(l->base.client, "Error"), ==, 0);
        test_wait_for(test_service_count_fds(l->base.service) == l->n_fds);
}

static void make_pipe(int ends[2]) {
        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
}

static void make_pair(int type, int ends[2]) {
        g_assert_no_errno(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends));
}

#define TEST_HERE(sentence) TEST_OF(sentence, Lifetime, l, set_up, tear_down, NULL)

TEST_HERE("a pipe ends when its writers are gone") {
        int ends[2];

        make_pipe(ends);
        listen_with(l, ends[0], ends[1]);
        assert_goes_on(l);
        l->ours = close_fd(l->ours);
        assert_ends(l);
}

TEST_HERE("a pipe ends when something is written") {
        int ends[2];

        make_pipe(ends);
        listen_with(l, ends[0], ends[1]);
        assert_goes_on(l);
        g_assert_cmpint(write(l->ours, "x", 1), ==, 1);
        assert_ends(l);
}

TEST_HERE("a pipe's writing end ends when its readers are gone") {
        int ends[2];

        make_pipe(ends);
        listen_with(l, ends[1], ends[0]);
        assert_goes_on(l);
        l->ours = close_fd(l->ours);
        assert_ends(l);
}

TEST_HERE("a pipe with a name is a pipe") {
        g_autofree char *path = g_build_filename(test_bus_directory(l->base.bus), "fifo", NULL);
        int reader, writer;

        g_assert_no_errno(mkfifo(path, 0600));
        reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_no_errno(reader);
        writer = open(path, O_WRONLY | O_CLOEXEC);
        g_assert_no_errno(writer);
        listen_with(l, reader, writer);
        assert_goes_on(l);
        l->ours = close_fd(l->ours);
        assert_ends(l);
}

TEST_HERE("a socket ends when the other one is closed") {
        int ends[2];

        make_pair(SOCK_STREAM, ends);
        listen_with(l, ends[0], ends[1]);
        assert_goes_on(l);
        l->ours = close_fd(l->ours);
        assert_ends(l);
}

TEST_HERE("a socket ends when something is sent") {
        int ends[2];

        make_pair(SOCK_DGRAM, ends);
        listen_with(l, ends[0], ends[1]);
        assert_goes_on(l);
        test_send(l->ours, "x", 1);
        assert_ends(l);
}

TEST_HERE("a socket ends when the other one says no more") {
        int ends[2];

        make_pair(SOCK_STREAM, ends);
        listen_with(l, ends[0], ends[1]);
        assert_goes_on(l);
        g_assert_no_errno(shutdown(l->ours, SHUT_WR));
        assert_ends(l);
}

TEST_HERE("an eventfd ends when it is signalled") {
        int given = eventfd(0, EFD_CLOEXEC), ours = fcntl(given, F_DUPFD_CLOEXEC, 3);

        g_assert_no_errno(ours);
        listen_with(l, given, ours);
        assert_goes_on(l);
        g_assert_no_errno(eventfd_write(l->ours, 1));
        assert_ends(l);
}

TEST_HERE("a process ends when it is killed") {
        const char *const argv[] = { "sleep", "1000", NULL };
        g_autoptr(TestChild) child = test_child_new(argv, NULL);

        listen_with(l, fcntl(child->pidfd, F_DUPFD_CLOEXEC, 3), -EBADF);
        assert_goes_on(l);
        test_child_signal(child, SIGKILL);
        assert_ends(l);
}

/* The reply comes first even so. */
TEST_HERE("one that is over already ends after the reply") {
        int ends[2];

        make_pipe(ends);
        close(ends[1]);
        l->listener = test_listen(l->base.client, 0, -1, "lifetime", "h", ends[0], NULL);
        close(ends[0]);

        g_autoptr(TestNotice) notice = test_client_wait_closed(l->base.client);

        g_assert_cmpstr(notice->listener, ==, l->listener);
        g_assert_cmpstr(notice->reason, ==, "lifetime");
        test_client_sync_service(l->base.client);
        test_wait_for(test_service_count_fds(l->base.service) == l->n_fds);
}

TEST_HERE("one ends all listeners that have it") {
        g_autofree char *other = NULL;
        g_autoptr(TestNotice) first = NULL, second = NULL;
        int ends[2];

        make_pipe(ends);
        l->ours = ends[1];
        l->given = ends[0];
        l->listener = test_listen(l->base.client, 0, -1, "lifetime", "h", l->given, NULL);
        other = test_listen(l->base.client, 0, -1, "lifetime", "h", l->given, NULL);

        /* One listener's end is not the other's. */
        test_listener_call(l->base.client, other, "Close");
        first = test_client_wait_closed(l->base.client);
        g_assert_cmpstr(first->reason, ==, "owner");
        l->port = test_get_port(l->base.client, l->listener);

        g_free(other);
        other = test_listen(l->base.client, 0, -1, "lifetime", "h", l->given, NULL);
        l->ours = close_fd(l->ours);
        g_clear_pointer(&first, test_notice_free);
        first = test_client_wait_closed(l->base.client);
        second = test_client_wait_closed(l->base.client);
        g_assert_cmpstr(first->reason, ==, "lifetime");
        g_assert_cmpstr(second->reason, ==, "lifetime");
        g_assert_cmpstr(first->listener, !=, second->listener);
        test_wait_for(test_service_count_fds(l->base.service) == l->n_fds);
}

TEST_HERE("delivered connections live on") {
        _cleanup_close_ int peer = -EBADF;
        g_autoptr(TestAccepted) accepted = NULL;
        int ends[2];

        make_pipe(ends);
        listen_with(l, ends[0], ends[1]);
        peer = test_connect("::1", l->port);
        accepted = test_client_wait_accepted(l->base.client);

        l->ours = close_fd(l->ours);
        assert_ends(l);
        test_assert_connected(peer, accepted->socket);
}

TEST_HERE("other clients do not notice") {
        g_autoptr(TestClient) other = test_client_new(l->base.bus, (uid_t) -1);
        g_autofree char *theirs = test_listen(other, 0, -1, NULL);
        _cleanup_close_ int peer = -EBADF;
        int ends[2];

        make_pipe(ends);
        listen_with(l, ends[0], ends[1]);
        l->ours = close_fd(l->ours);
        test_notice_free(test_client_wait_closed(l->base.client));

        peer = test_connect("::1", test_get_port(other, theirs));
        test_accepted_free(test_client_wait_accepted(other));
        g_assert_cmpuint(test_client_count_signals(other, "Closed"), ==, 0);
}
