/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "bus/fixture.h"
#include "fault/life.h"

#define HAS_OWNER "org.example.TCPServerSocket.Error.HasOwner"

/* Starts the next process if the service has been killed. */
static bool revive(Life *life) {
        if (!test_service_has_exited(life->service))
                return false;

        g_assert_true(life->control->fired);
        g_assert_cmpint(test_service_wait_exit(life->service), ==, 128 + SIGKILL);
        g_clear_pointer(&life->service, test_service_free);
        life->service = keeper_start(life->keeper, life->bus);
        life->revived = true;
        return true;
}

#define wait_for(life, condition) test_wait_for((condition) || (revive(life) && false))

static sd_bus_message *make_call(Life *life, const char *path, const char *member) {
        return test_message_new(life->client, path,
                                streq(path, TEST_MANAGER_PATH) ? TEST_MANAGER_INTERFACE
                                                               : TEST_LISTENER_INTERFACE,
                                member);
}

/* Whether the call must be repeated, because the process was killed before its reply. */
static bool is_unanswered(Life *life, TestCall *call) {
        wait_for(life, test_call_is_done(call));
        const char *error = test_call_error(call);
        if (!error || !(streq(error, SD_BUS_ERROR_NO_REPLY) || streq(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                        streq(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER)))
                return false;

        test_wait_for(revive(life) || life->revived);
        return true;
}

static TestCall *ask_listener(Life *life, const char *member, bool *ret_again) {
        TestCall *call = NULL;

        *ret_again = false;
        for (;;) {
                call = test_call_start(life->client, make_call(life, life->listener, member));
                if (!is_unanswered(life, call))
                        return call;
                *ret_again = true;
                test_call_free(call);
        }
}

/* A repeated call may get this error, if the first one had succeeded. */
static void call_listener(Life *life, const char *member, const char *done_already) {
        bool again;
        g_autoptr(TestCall) call = ask_listener(life, member, &again);
        const char *error = test_call_error(call);

        if (again && done_already && error)
                g_assert_cmpstr(error, ==, done_already);
        else
                g_assert_cmpstr(error, ==, NULL);
}

static void listen_on_port(Life *life) {
        const char *path;

        for (;;) {
                sd_bus_message *m = make_call(life, TEST_MANAGER_PATH, "Listen");

                must(sd_bus_message_append(m, "i", (int) life->port));
                test_message_append_options(m, "delivery", "s", life->way->delivery, "persistent", "b",
                                            life->way->persistent,
                                            life->way->acknowledge ? "acknowledge"
                                            : life->way->batch > 0 ? "channelBatch"
                                                                   : NULL,
                                            life->way->acknowledge ? "b" : "u",
                                            life->way->acknowledge ? 1 : life->way->batch, NULL);
                must(sd_bus_message_append(m, "i", -1));
                g_autoptr(TestCall) call = test_call_start(life->client, m);
                if (is_unanswered(life, call))
                        continue;

                g_assert_cmpstr(test_call_error_message(call), ==, NULL);
                must(sd_bus_message_read(test_call_wait(call), "o", &path));
                life->listener = g_strdup(path);
                return;
        }
}

bool peer_belongs_to(int peer, int socket) {
        return test_remote_port(socket) == test_local_port(peer);
}

static void acknowledge(Life *life, uint64_t serial) {
        for (;;) {
                sd_bus_message *m = make_call(life, life->listener, "Acknowledge");

                must(sd_bus_message_append(m, "t", serial));
                g_autoptr(TestCall) call = test_call_start(life->client, m);
                if (is_unanswered(life, call))
                        continue;
                g_assert_cmpstr(test_call_error_message(call), ==, NULL);
                return;
        }
}

/* A connection may be delivered twice. */
static int take_signal(Life *life, int peer) {
        for (;;) {
                wait_for(life, test_client_count_accepted(life->client) > 0 || test_has_ended(peer));
                if (test_client_count_accepted(life->client) == 0)
                        return -1;

                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(life->client);
                if (life->way->acknowledge)
                        acknowledge(life, accepted->serial);
                if (peer_belongs_to(peer, accepted->socket))
                        return TAKE_FD(accepted->socket);
        }
}

static int take_pull(Life *life, int peer) {
        for (;;) {
                g_autoptr(TestCall) call = test_accept_start(life->client, life->listener, 1, 200);

                if (is_unanswered(life, call))
                        continue;
                g_assert_cmpstr(test_call_error_message(call), ==, NULL);
                g_autoptr(TestAccepted) accepted = test_accept_read_first(test_call_wait(call));
                if (!accepted && test_has_ended(peer))
                        return -1;
                if (accepted && peer_belongs_to(peer, accepted->socket))
                        return TAKE_FD(accepted->socket);
        }
}

static int get_fd(Life *life, const char *member) {
        bool again;
        g_autoptr(TestCall) call = ask_listener(life, member, &again);

        g_assert_cmpstr(test_call_error_message(call), ==, NULL);
        return test_reply_read_fd(test_call_wait(call));
}

static int take_channel(Life *life, int peer) {
        for (;;) {
                uint64_t serial;

                if (life->handle < 0)
                        life->handle = get_fd(life, "OpenChannel");
                wait_for(life, test_has_input(life->handle) || test_has_ended(peer));
                if (!test_has_input(life->handle))
                        return -1;
                int fd = test_channel_receive(life->handle, &serial);
                must(fd);
                if (peer_belongs_to(peer, fd))
                        return fd;
                (void) close_fd(fd);
        }
}

static int take_socket(Life *life, int peer) {
        if (life->handle < 0)
                life->handle = get_fd(life, "TakeSocket");
        wait_for(life, test_has_input(life->handle));
        return accept4(life->handle, NULL, NULL, SOCK_CLOEXEC);
}

static void take_or_lose(Life *life, int peer) {
        _cleanup_close_ int socket = life->way->take(life, peer);

        if (socket >= 0)
                test_assert_connected(peer, socket);
        else
                life->n_lost++;
}

/* The peers connect while the service does not accept, so that it collects them for one packet. */
typedef struct Burst {
        int fds[8];
        unsigned n;
} Burst;

static void burst_connect(Burst *burst, Life *life) {
        for (burst->n = 0; burst->n < MAX(life->way->batch, 1); burst->n++)
                burst->fds[burst->n] = test_connect("::1", life->port);
}

static bool burst_has_ended(const Burst *burst) {
        for (unsigned i = 0; i < burst->n; i++)
                if (!test_has_ended(burst->fds[i]))
                        return false;
        return true;
}

/* Checks a connection and closes both ends. */
static void burst_find(Burst *burst, int socket) {
        for (unsigned i = 0; i < burst->n; i++)
                if (peer_belongs_to(burst->fds[i], socket)) {
                        test_assert_connected(burst->fds[i], socket);
                        (void) close_fd(burst->fds[i]);
                        burst->fds[i] = burst->fds[--burst->n];
                        break;
                }
        (void) close_fd(socket);
}

static void burst_take_or_lose(Burst *burst, Life *life) {
        while (life->way->batch > 0 && burst->n > 0) {
                ChannelRecord records[CHANNEL_BATCH_MAX];
                int fds[CHANNEL_BATCH_MAX];

                if (life->handle < 0)
                        life->handle = get_fd(life, "OpenChannel");
                wait_for(life, test_has_input(life->handle) || burst_has_ended(burst));
                if (!test_has_input(life->handle))
                        break;
                unsigned n = test_channel_receive_packet(life->handle, records, fds, ELEMENTS(fds));
                g_assert_cmpuint(n, >, 0);
                life->n_together = MAX(life->n_together, n);
                for (unsigned i = 0; i < n; i++)
                        burst_find(burst, fds[i]);
        }
        for (; burst->n > 0; burst->n--) {
                _cleanup_close_ int peer = burst->fds[burst->n - 1];

                if (life->way->batch > 0)
                        life->n_lost++;
                else
                        take_or_lose(life, peer);
        }
}

static void hand_over(Life *life) {
        Burst burst;

        burst_connect(&burst, life);
        burst_take_or_lose(&burst, life);
}

/* Delivers connections that arrived while the listener was paused. */
static void pause_and_resume(Life *life) {
        Burst burst;

        call_listener(life, "Pause", NULL);
        burst_connect(&burst, life);
        call_listener(life, "Resume", NULL);
        burst_take_or_lose(&burst, life);
}

/* Disconnects the client. Another client adopts the persistent listener. */
static void change_owner(Life *life) {
        g_clear_pointer(&life->client, test_client_free);
        life->handle = close_fd(life->handle);
        life->client = test_client_new(life->bus, (uid_t) -1);
        test_client_set_calls(life->client, TEST_CALLS_ANSWER);
        for (;;) {
                bool again;
                g_autoptr(TestCall) call = ask_listener(life, "Adopt", &again);
                const char *error = test_call_error(call);

                /* The service may not know yet that the first client has left the bus. */
                if (error && streq(error, HAS_OWNER) &&
                    !strstr(test_call_error_message(call), test_client_name(life->client)))
                        continue;
                if (error && again)
                        g_assert_cmpstr(error, ==, HAS_OWNER);
                else
                        g_assert_cmpstr(error, ==, NULL);
                return;
        }
}

/* Closes a socket that the client has taken. The client is told, and the port is free some time later. */
static void close_by_other(Life *life) {
        TestClient *owner = life->client;

        life->client = test_client_new(life->bus, (uid_t) -1);
        call_listener(life, "Close", SD_BUS_ERROR_UNKNOWN_OBJECT);
        test_client_free(life->client);
        life->client = owner;

        wait_for(life, test_client_count_signals(owner, "Closed") > 0);
        wait_for(life, test_has_input(life->handle));
        g_assert_cmpint(accept4(life->handle, NULL, NULL, SOCK_CLOEXEC), ==, -1);
        g_assert_cmpint(errno, ==, EINVAL);
}

/* A persistent listener ends with its lifeline. */
static void end_life(Life *life) {
        if (life->way->closed_by_other)
                close_by_other(life);
        life->lifeline = close_fd(life->lifeline);
        if (life->way->persistent)
                wait_for(life, !test_is_listening(getpid(), life->port));
        else
                call_listener(life, "Close", SD_BUS_ERROR_UNKNOWN_OBJECT);
        g_assert_cmpint(test_connect_fails("::1", life->port), ==, ECONNREFUSED);
        life->handle = close_fd(life->handle);
        g_clear_pointer(&life->listener, g_free);
        g_clear_pointer(&life->client, test_client_free);
}

void life_live(Life *life, FaultMode mode, uint32_t ordinal) {
        const FaultControl control = { .ordinal = ordinal, .mode = mode };

        life->client = test_client_new(life->bus, (uid_t) -1);
        test_client_set_calls(life->client, TEST_CALLS_ANSWER);
        life->n_lost = 0;
        life->revived = false;
        if (!life->way->closed_by_other)
                *life->control = control;

        listen_on_port(life);
        if (life->way->persistent)
                life->lifeline = get_fd(life, "OpenLifeline");
        hand_over(life);
        if (!streq(life->way->delivery, "socket"))
                pause_and_resume(life);
        if (life->way->persistent) {
                change_owner(life);
                hand_over(life);
        }
        if (life->way->closed_by_other)
                *life->control = control;
        end_life(life);
        life->control->mode = FAULT_OFF;
        if (life->control->fired)
                test_wait_for(revive(life) || life->revived);

        if (life->n_lost > 0) {
                g_assert_cmpuint(life->n_lost, <=, MAX(life->way->batch, 1));
                g_assert_cmpuint(life->control->fired, ==, 1);
                /* The packet of a channel has the local address. */
                if (!streq(life->way->delivery, "channel") || life->control->last != FAULT_GETSOCKNAME)
                        g_assert_true(life->control->last == FAULT_ACCEPT ||
                                      life->control->last == FAULT_FCHOWN);
        }
        test_wait_for(keeper_has_nothing(life->keeper));
        life->n_kills += life->control->fired;
}

void life_init(Life *life, const Way *way) {
        *life = (Life) { .way = way,
                         .handle = -EBADF,
                         .lifeline = -EBADF,
                         .port = test_free_port(),
                         .bus = test_bus_new(NULL) };
        life->keeper = keeper_new(life->bus);
        fault_library_init(&life->library, life->bus);
        life->control = life->library.control;
        keeper_set_environment(life->keeper, life->library.environment);
        life->service = keeper_start(life->keeper, life->bus);
}

void life_done(Life *life) {
        g_clear_pointer(&life->service, test_service_free);
        fault_library_done(&life->library);
        keeper_free(life->keeper);
        test_bus_free(life->bus);
}

const Way ways[] = {
        { "signal", "signal", false, false, take_signal },
        { "acknowledge", "signal", true, false, take_signal },
        { "client call", "call", false, false, take_signal },
        { "pull", "pull", false, false, take_pull },
        { "channel", "channel", false, false, take_channel },
        { "batches", "channel", false, false, .batch = 5 },
        { "socket", "socket", false, false, take_socket },
        { "persistent signal", "signal", false, true, take_signal },
        { "persistent client call", "call", false, true, take_signal },
        { "persistent pull", "pull", false, true, take_pull },
        { "persistent channel", "channel", false, true, take_channel },
        { "persistent batches", "channel", false, true, .batch = 5 },
        { "closed socket", "socket", false, true, take_socket, .closed_by_other = true },
        {},
};
