/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/socket.h>

#include "base/macros.h"
#include "bus/call.h"
#include "fault/run.h"
#include "fault/scenario.h"

static bool deliver_signal(Run *run, int peer) {
        g_autoptr(TestAccepted) accepted = NULL;
        g_autoptr(TestCall) call = NULL;
        sd_bus_message *m;

        (void) run_wait_until(test_client_count_accepted(run->client) > 0 || test_has_ended(peer) ||
                              run_has_ended(run));
        if (test_client_count_accepted(run->client) == 0)
                return false;
        accepted = test_client_wait_accepted(run->client);
        test_assert_connected(peer, accepted->socket);
        if (!run->scenario->acknowledge)
                return true;

        m = test_message_new(run->client, run->listener, TEST_LISTENER_INTERFACE, "Acknowledge");
        g_assert_cmpint(sd_bus_message_append(m, "t", accepted->serial), >=, 0);
        call = test_call_start(run->client, m);
        (void) run_ask(run, call, "Acknowledge");
        return true;
}

static bool deliver_pull(Run *run, int peer) {
        g_autoptr(TestCall) call = test_accept_start(run->client, run->listener, 1, 3000);
        g_autoptr(TestAccepted) accepted = NULL;
        sd_bus_message *reply = run_ask(run, call, "Accept");

        accepted = reply ? test_accept_read_first(reply) : NULL;
        if (!accepted)
                return false;
        test_assert_connected(peer, accepted->socket);
        return true;
}

static bool get_handle(Run *run, const char *member) {
        g_autoptr(TestCall) call = NULL;
        sd_bus_message *reply;

        if (run->handle >= 0)
                return true;
        call = test_call_start(run->client,
                               test_message_new(run->client, run->listener, TEST_LISTENER_INTERFACE, member));
        reply = run_ask(run, call, member);
        if (!reply)
                return false;
        run->handle = test_reply_read_fd(reply);
        return true;
}

static bool deliver_channel(Run *run, int peer) {
        _cleanup_close_ int fd = -EBADF;
        uint64_t serial;

        if (!get_handle(run, "OpenChannel"))
                return false;
        (void) run_wait_until(test_has_input(run->handle) || test_has_ended(peer) || run_has_ended(run));
        if (!test_has_input(run->handle))
                return false;
        fd = test_channel_receive(run->handle, &serial);
        if (fd < 0)
                return false;
        test_assert_connected(peer, fd);
        return true;
}

/* The peer of the scenario, and others that have connected before the channel was open, so that the service
 * collects all of them for one packet. A peer that was delivered is -EBADF. */
typedef struct Burst {
        int peers[5];
} Burst;

static bool burst_is_over(const Burst *burst) {
        for (size_t i = 0; i < G_N_ELEMENTS(burst->peers); i++)
                if (burst->peers[i] >= 0 && !test_has_ended(burst->peers[i]))
                        return false;
        return true;
}

static void burst_find(Burst *burst, int socket) {
        for (size_t i = 0; i < G_N_ELEMENTS(burst->peers); i++)
                if (burst->peers[i] >= 0 && test_local_port(burst->peers[i]) == test_remote_port(socket)) {
                        test_assert_connected(burst->peers[i], socket);
                        burst->peers[i] = close_fd(burst->peers[i]);
                }
        (void) close_fd(socket);
}

/* Until each connection was delivered or has ended. */
static void burst_receive(Burst *burst, Run *run) {
        while (!burst_is_over(burst)) {
                ChannelRecord records[CHANNEL_BATCH_MAX];
                int fds[CHANNEL_BATCH_MAX];
                unsigned n;

                (void) run_wait_until(test_has_input(run->handle) || burst_is_over(burst) ||
                                      run_has_ended(run));
                if (!test_has_input(run->handle))
                        return;
                n = test_channel_receive_packet(run->handle, records, fds, ELEMENTS(fds));
                if (n == 0)
                        return;
                for (unsigned i = 0; i < n; i++)
                        burst_find(burst, fds[i]);
        }
}

static bool deliver_batches(Run *run, int peer) {
        Burst burst = { .peers = { fcntl(peer, F_DUPFD_CLOEXEC, 0) } };
        bool delivered;

        g_assert_no_errno(burst.peers[0]);
        for (size_t i = 1; i < G_N_ELEMENTS(burst.peers); i++)
                burst.peers[i] = run->handle < 0 ? test_connect_start(NULL, "::1", run->port) : -EBADF;
        if (get_handle(run, "OpenChannel"))
                burst_receive(&burst, run);

        delivered = burst.peers[0] < 0;
        for (size_t i = 0; i < G_N_ELEMENTS(burst.peers); i++)
                (void) close_fd(burst.peers[i]);
        return delivered;
}

static bool deliver_socket(Run *run, int peer) {
        _cleanup_close_ int fd = -EBADF;

        if (!get_handle(run, "TakeSocket"))
                return false;
        (void) run_wait_until(test_has_input(run->handle) || test_has_ended(peer));
        fd = accept4(run->handle, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
                return false;
        test_assert_connected(peer, fd);
        return true;
}

/* Calls all other methods. */
static bool deliver_nothing(Run *run, int peer) {
        static const char *const members[] = { "Pause", "Resume" };
        static const struct {
                const char *path, *interface, *member;
        } looks[] = {
                { TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE, "ListListeners" },
                { TEST_MANAGER_PATH "/listener", "org.freedesktop.DBus.Introspectable", "Introspect" },
                { TEST_MANAGER_PATH, "org.freedesktop.DBus.Introspectable", "Introspect" },
        };
        bool good = true;

        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                good = run_call_listener(run, members[i]) && good;
        for (size_t i = 0; i < G_N_ELEMENTS(looks); i++) {
                g_autoptr(TestCall) call = test_call_start(
                                run->client, test_message_new(run->client, looks[i].path, looks[i].interface,
                                                              looks[i].member));
                sd_bus_message *reply;
                const char *xml = "";

                reply = run_ask(run, call, looks[i].member);
                good = reply && good;
                /* For the other path, libsystemd handles the call, and replies with an empty text on failure.
                 */
                if (reply && g_str_has_suffix(looks[i].path, "/listener") &&
                    (sd_bus_message_read(reply, "s", &xml) < 0 || !g_str_has_suffix(xml, "</node>\n")))
                        run_complain(run, "Introspect says \"%s\"", xml);
        }
        for (unsigned all = 0; all < 2; all++) {
                sd_bus_message *m = test_message_new(run->client, run->listener,
                                                     "org.freedesktop.DBus.Properties",
                                                     all ? "GetAll" : "Get");
                g_autoptr(TestCall) call = NULL;

                g_assert_cmpint(sd_bus_message_append(m, all ? "s" : "ss", TEST_LISTENER_INTERFACE,
                                                      "LocalPort"),
                                >=, 0);
                call = test_call_start(run->client, m);
                good = run_ask(run, call, all ? "GetAll" : "Get") && good;
        }
        return good && run_call_listener(run, "Close") && run_listen(run);
}

const Scenario scenarios[] = {
        { "signal", "signal", .has_keeper = true, .n_peers = 1, .deliver = deliver_signal },
        { "acknowledge", "signal", .acknowledge = true, .has_keeper = true, .n_peers = 1,
          .deliver = deliver_signal },
        { "client call", "call", .has_keeper = true, .n_peers = 1, .deliver = deliver_signal },
        { "pull", "pull", .has_keeper = true, .n_peers = 1, .deliver = deliver_pull },
        { "channel", "channel", .has_keeper = true, .n_peers = 2, .deliver = deliver_channel },
        { "batches", "channel", .batch = 5, .has_keeper = true, .n_peers = 2, .deliver = deliver_batches },
        { "socket", "socket", .has_keeper = true, .n_peers = 1, .deliver = deliver_socket },
        { "calls", "signal", .n_peers = 1, .deliver = deliver_nothing },
        { "polkit", "signal", .asks = true, .n_peers = 1, .deliver = deliver_signal },
        {},
};

bool scenario_is_calls(const Scenario *scenario) {
        return scenario->deliver == deliver_nothing;
}
