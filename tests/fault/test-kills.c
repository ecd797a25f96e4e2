/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The service is killed before each system call that it makes for a client, one process for each, and
 * restarted. A client that repeats calls without a reply notices nothing else: its port stays bound, earlier
 * replies stay valid, and a connection is lost only between accept() and the system call that saves it, which
 * is the second one after it; through a channel, until its packet is sent.
 */

#include "bus/fixture.h"
#include "fault/life.h"

static void test_kills(const void *data) {
        unsigned n_lost = 0;
        Life life;

        life_init(&life, data);
        life_live(&life, FAULT_COUNT, 0);
        unsigned n = life.control->n_system_calls;
        for (uint32_t ordinal = 0; ordinal < n; ordinal++) {
                life_live(&life, FAULT_KILL, ordinal);
                n_lost += life.n_lost;
        }

        g_test_message("%s: %u kills, in %u system calls; %u connections lost", life.way->name, life.n_kills,
                       n, n_lost);
        g_assert_cmpuint(life.n_kills, >, n / 2);
        g_assert_cmpuint(life.n_together, ==, life.way->batch);
        life_done(&life);
}

/* ---------------------------------------------------------------------- while it restores its state */

/* Listeners and connections that each process restores. */
typedef struct Saved {
        char *unacknowledged, *in_channel, *taken, *waiting;
        int unacknowledged_peer, channel_peer, waiting_peer;
        int channel, socket, lifeline;
} Saved;

static void save(Life *life, Saved *saved) {
        saved->unacknowledged = test_listen(life->client, 0, -1, TEST_ACKNOWLEDGE, NULL);
        saved->lifeline = test_listener_call_fd(life->client, saved->unacknowledged, "OpenLifeline");
        saved->in_channel = test_listen(life->client, 0, -1, TEST_CHANNEL, NULL);
        saved->taken = test_listen(life->client, 0, -1, TEST_SOCKET, NULL);
        saved->waiting = test_listen(life->client, 0, -1, TEST_PERSISTENT, TEST_PAUSED, NULL);
        saved->channel = test_listener_call_fd(life->client, saved->in_channel, "OpenChannel");
        saved->socket = test_listener_call_fd(life->client, saved->taken, "TakeSocket");
        saved->unacknowledged_peer = test_connect("::1", test_get_port(life->client, saved->unacknowledged));
        saved->channel_peer = test_connect("::1", test_get_port(life->client, saved->in_channel));
        saved->waiting_peer = test_connect("::1", test_get_port(life->client, saved->waiting));
        test_wait_for(test_get_u64(life->client, saved->in_channel, "Accepted") == 1);
}

static void expect_unacknowledged(Life *life, const Saved *saved) {
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(life->client);

        g_assert_cmpstr(accepted->listener, ==, saved->unacknowledged);
        g_assert_cmpuint(accepted->serial, ==, 1);
        g_assert_true(peer_belongs_to(saved->unacknowledged_peer, accepted->socket));
}

static void check_saved(Life *life, const Saved *saved) {
        expect_unacknowledged(life, saved);
        g_assert_cmpuint(test_get_u64(life->client, saved->in_channel, "Delivered"), ==, 0);
        g_assert_true(test_get_bool(life->client, saved->waiting, "Paused"));
        g_assert_true(test_has_owner(life->client, saved->waiting));
        test_assert_text(test_listener_call_fails(life->client, saved->taken, "TakeSocket"),
                         "org.example.TCPServerSocket.Error.AlreadyTaken");
        g_assert_cmpuint(test_client_count_signals(life->client, "Closed"), ==, 0);
        g_assert_cmpuint(test_client_count_signals(life->client, "Error"), ==, 0);
}

static void take_saved(Life *life, Saved *saved) {
        uint64_t serial;

        _cleanup_close_ int first = test_channel_receive(saved->channel, &serial);
        g_assert_cmpuint(serial, ==, 1);
        test_assert_connected(saved->channel_peer, first);
        _cleanup_close_ int peer = test_connect("::1", test_get_port(life->client, saved->taken));
        g_assert_cmpuint(test_wait_fd(saved->socket, POLLIN), ==, POLLIN);
        _cleanup_close_ int second = accept4(saved->socket, NULL, NULL, SOCK_CLOEXEC);
        test_assert_connected(peer, second);
        test_listener_call(life->client, saved->waiting, "Resume");
        { test_client_expect_peer(life->client, saved->waiting, saved->waiting_peer); }
        saved->lifeline = close_fd(saved->lifeline);
        { test_client_expect_closed(life->client, saved->unacknowledged, "lifeline"); }
}

static void saved_done(Saved *saved) {
        (void) close_fd(saved->unacknowledged_peer);
        (void) close_fd(saved->channel_peer);
        (void) close_fd(saved->waiting_peer);
        (void) close_fd(saved->channel);
        (void) close_fd(saved->socket);
        g_free(saved->unacknowledged);
        g_free(saved->in_channel);
        g_free(saved->taken);
        g_free(saved->waiting);
}

/* Returns whether the process was killed before it had its name. */
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
        Saved saved = {};

        life_init(&life, NULL);
        life.client = test_client_new(life.bus, (uid_t) -1);
        save(&life, &saved);
        expect_unacknowledged(&life, &saved);

        for (uint32_t ordinal = 0;; ordinal++) {
                kill_service(&life);
                bool died = start_and_kill(&life, ordinal);
                if (died) {
                        life.n_kills++;
                        /* The process may already have sent the signal. */
                        test_client_sync(life.client);
                        while (test_client_count_accepted(life.client) > 0)
                                expect_unacknowledged(&life, &saved);
                        life.service = keeper_start(life.keeper, life.bus);
                }
                check_saved(&life, &saved);
                if (!died)
                        break;
        }

        g_test_message("%u kills before the name was acquired", life.n_kills);
        g_assert_cmpuint(life.n_kills, >, 100);
        take_saved(&life, &saved);
        saved_done(&saved);
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
        g_test_add_data_func("/kills/while it restores its state", NULL, test_kills_at_start);
        return test_run();
}
