/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The service dies before each system call that it makes on the way of a client, one process for each, and
 * the next one goes on. A client that repeats what was not answered notices nothing else: its port stays
 * bound, what it was told is so, and of its connections one is lost only between accept() and the next system
 * call.
 */

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "bus/fixture.h"
#include "fault/life.h"

static void test_kills(const void *data) {
        unsigned n, n_lost = 0;
        Life life;

        life_init(&life, data);
        life_live(&life, FAULT_COUNT, 0);
        n = life.control->n_system_calls;
        for (uint32_t ordinal = 0; ordinal < n; ordinal++) {
                life_live(&life, FAULT_KILL, ordinal);
                n_lost += life.n_lost;
        }

        g_test_message("%s: %u kills, in %u system calls; %u connections lost", life.way->name, life.n_kills,
                       n, n_lost);
        g_assert_cmpuint(life.n_kills, >, n / 2);
        life_done(&life);
}

/* ---------------------------------------------------------------------- while it goes on with what was left
 */

/* What there is, and stays as it is from one process to the next. */
typedef struct Left {
        char *unacknowledged, *in_channel, *taken, *waiting;
        int unacknowledged_peer, channel_peer, waiting_peer;
        int channel, socket, lifetime;
} Left;

static void leave(Life *life, Left *left) {
        _cleanup_close_ int theirs = -EBADF;
        int ends[2];

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        theirs = ends[0];
        left->lifetime = ends[1];
        left->unacknowledged = test_listen(life->client, 0, -1, "acknowledge", "b", true, "lifetime", "h",
                                           theirs, NULL);
        left->in_channel = test_listen(life->client, 0, -1, "delivery", "s", "channel", NULL);
        left->taken = test_listen(life->client, 0, -1, "delivery", "s", "socket", NULL);
        left->waiting = test_listen(life->client, 0, -1, "persistent", "b", true, "paused", "b", true, NULL);
        left->channel = test_listener_call_fd(life->client, left->in_channel, "OpenChannel");
        left->socket = test_listener_call_fd(life->client, left->taken, "TakeSocket");
        left->unacknowledged_peer = test_connect("::1", test_get_port(life->client, left->unacknowledged));
        left->channel_peer = test_connect("::1", test_get_port(life->client, left->in_channel));
        left->waiting_peer = test_connect("::1", test_get_port(life->client, left->waiting));
        test_wait_for(test_get_u64(life->client, left->in_channel, "Accepted") == 1);
}

static void expect_unacknowledged(Life *life, const Left *left) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(life->client);

        g_assert_cmpstr(accepted->listener, ==, left->unacknowledged);
        g_assert_cmpuint(accepted->serial, ==, 1);
        g_assert_true(peer_belongs_to(left->unacknowledged_peer, accepted->socket));
}

static void check_left(Life *life, const Left *left) {
        g_autofree char *error = NULL;

        expect_unacknowledged(life, left);
        g_assert_cmpuint(test_get_u64(life->client, left->in_channel, "Delivered"), ==, 0);
        g_assert_true(test_get_bool(life->client, left->waiting, "Paused"));
        g_assert_true(test_has_owner(life->client, left->waiting));
        error = test_listener_call_fails(life->client, left->taken, "TakeSocket");
        g_assert_cmpstr(error, ==, "org.example.TCPServerSocket.Error.AlreadyTaken");
        g_assert_cmpuint(test_client_count_signals(life->client, "Closed"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(life->client, "Error"), ==, 0);
}

static void take_left(Life *life, Left *left) {
        _cleanup_close_ int first = -EBADF, second = -EBADF, peer = -EBADF;
        uint64_t serial;

        first = test_channel_receive(left->channel, &serial);
        g_assert_cmpuint(serial, ==, 1);
        test_assert_connected(left->channel_peer, first);
        peer = test_connect("::1", test_get_port(life->client, left->taken));
        g_assert_cmpuint(test_wait_fd(left->socket, POLLIN), ==, POLLIN);
        second = accept4(left->socket, NULL, NULL, SOCK_CLOEXEC);
        test_assert_connected(peer, second);
        test_listener_call(life->client, left->waiting, "Resume");
        {
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(life->client);

                g_assert_cmpstr(accepted->listener, ==, left->waiting);
                test_assert_connected(left->waiting_peer, accepted->socket);
        }
        left->lifetime = close_fd(left->lifetime);
        {
                g_autoptr(TestNotice) closed = test_client_wait_closed(life->client);

                g_assert_cmpstr(closed->listener, ==, left->unacknowledged);
                g_assert_cmpstr(closed->reason, ==, "lifetime");
        }
}

static void left_done(Left *left) {
        (void) close_fd(left->unacknowledged_peer);
        (void) close_fd(left->channel_peer);
        (void) close_fd(left->waiting_peer);
        (void) close_fd(left->channel);
        (void) close_fd(left->socket);
        g_free(left->unacknowledged);
        g_free(left->in_channel);
        g_free(left->taken);
        g_free(left->waiting);
}

/* Returns whether it died on its way. */
static bool start_and_kill(Life *life, uint32_t ordinal) {
        *life->control = (FaultControl) { .ordinal = ordinal, .mode = FAULT_KILL };
        life->service = keeper_spawn(life->keeper, life->bus);
        test_wait_for(test_service_has_exited(life->service) || test_bus_service_owner(life->bus));
        life->control->mode = FAULT_OFF;
        if (!life->control->fired)
                return false;

        test_wait_for(test_service_has_exited(life->service));
        g_assert_cmpint(test_service_wait_exit(life->service), ==, 128 + SIGKILL);
        g_clear_pointer(&life->service, test_service_free);
        test_wait_for(!test_bus_service_owner(life->bus));
        return true;
}

static void kill_service(Life *life) {
        g_assert_cmpint(test_service_kill(life->service), ==, 128 + SIGKILL);
        g_clear_pointer(&life->service, test_service_free);
        test_wait_for(!test_bus_service_owner(life->bus));
}

static void test_kills_at_start(const void *data) {
        Life life = {};
        Left left = {};

        life_init(&life, NULL);
        life.client = test_client_new(life.bus, (uid_t) -1);
        leave(&life, &left);
        expect_unacknowledged(&life, &left);

        for (uint32_t ordinal = 0;; ordinal++) {
                bool died;

                kill_service(&life);
                died = start_and_kill(&life, ordinal);
                if (died) {
                        life.n_kills++;
                        /* It may have come as far as that. */
                        test_client_sync(life.client);
                        while (test_client_count_accepted(life.client) > 0)
                                expect_unacknowledged(&life, &left);
                        life.service = keeper_start(life.keeper, life.bus);
                }
                check_left(&life, &left);
                if (!died)
                        break;
        }

        g_test_message("%u kills on the way to the name", life.n_kills);
        g_assert_cmpuint(life.n_kills, >, 100);
        take_left(&life, &left);
        left_done(&left);
        g_clear_pointer(&life.client, test_client_free);
        life_done(&life);
}

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();
        for (const Way *way = ways; way->name; way++) {
                g_autofree char *path = g_strdup_printf("/kills/%s", way->name);

                g_test_add_data_func(path, way, test_kills);
        }
        g_test_add_data_func("/kills/while it goes on with what was left", NULL, test_kills_at_start);
        return test_run();
}
