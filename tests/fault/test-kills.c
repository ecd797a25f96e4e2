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
#include "bus/keeper.h"
#include "bus/pull.h"
#include "fault/control.h"

#define HAS_OWNER "org.example.TCPServerSocket.Error.HasOwner"

typedef struct Life Life;

typedef struct Way {
        const char *name;
        const char *delivery;
        bool acknowledge;
        bool persistent;
        /* Takes a connection and returns it, or -1 when the peer has lost it. */
        int (*take)(Life *life, int peer);
} Way;

struct Life {
        const Way *way;
        TestBus *bus;
        Keeper *keeper;
        TestService *service;
        FaultLibrary library;
        FaultControl *control; /* the library's */
        uint16_t port;

        TestClient *client;
        char *listener;
        int handle; /* the channel, or the socket */

        bool revived;
        unsigned n_lost;
        unsigned n_kills, n_lives;
};

/* If it has died, the next one comes. */
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

/* Whether it is to be repeated, as the process did not live to answer it. */
static bool is_unanswered(Life *life, TestCall *call) {
        const char *error;

        wait_for(life, test_call_is_done(call));
        error = test_call_error(call);
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

/* What a first call may have done already, another one may be told. */
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
                g_autoptr(TestCall) call = NULL;

                g_assert_cmpint(sd_bus_message_append(m, "i", (int) life->port), >=, 0);
                test_message_append_options(m, "delivery", "s", life->way->delivery, "persistent", "b",
                                            life->way->persistent,
                                            life->way->acknowledge ? "acknowledge" : NULL, "b", true, NULL);
                g_assert_cmpint(sd_bus_message_append(m, "i", -1), >=, 0);
                call = test_call_start(life->client, m);
                if (is_unanswered(life, call))
                        continue;

                g_assert_cmpstr(test_call_error_message(call), ==, NULL);
                g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "o", &path), >=, 0);
                life->listener = g_strdup(path);
                return;
        }
}

/* These two are one connection, and not a copy of an earlier one. */
static bool belong_together(int peer, int socket) {
        return test_remote_port(socket) == test_local_port(peer);
}

static void acknowledge(Life *life, uint64_t serial) {
        for (;;) {
                sd_bus_message *m = make_call(life, life->listener, "Acknowledge");
                g_autoptr(TestCall) call = NULL;

                g_assert_cmpint(sd_bus_message_append(m, "t", serial), >=, 0);
                call = test_call_start(life->client, m);
                if (is_unanswered(life, call))
                        continue;
                g_assert_cmpstr(test_call_error_message(call), ==, NULL);
                return;
        }
}

/* The same may come again. */
static int take_signal(Life *life, int peer) {
        for (;;) {
                g_autoptr(TestAccepted) accepted = NULL;

                wait_for(life, test_client_count_accepted(life->client) > 0 || test_has_ended(peer));
                if (test_client_count_accepted(life->client) == 0)
                        return -1;

                accepted = test_client_wait_accepted(life->client);
                if (life->way->acknowledge)
                        acknowledge(life, accepted->serial);
                if (belong_together(peer, accepted->socket))
                        return TAKE_FD(accepted->socket);
        }
}

static int take_pull(Life *life, int peer) {
        for (;;) {
                g_autoptr(TestCall) call = test_accept_start(life->client, life->listener, 1, 200);
                g_autoptr(TestAccepted) accepted = NULL;
                sd_bus_message *reply;

                if (is_unanswered(life, call))
                        continue;
                g_assert_cmpstr(test_call_error_message(call), ==, NULL);
                reply = test_call_wait(call);
                g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"), >, 0);
                if (sd_bus_message_enter_container(reply, 'r', "hsqa{sv}") <= 0) {
                        if (test_has_ended(peer))
                                return -1;
                        continue;
                }
                accepted = test_accepted_read(reply);
                if (belong_together(peer, accepted->socket))
                        return TAKE_FD(accepted->socket);
        }
}

static void get_handle(Life *life, const char *member) {
        bool again;
        g_autoptr(TestCall) call = ask_listener(life, member, &again);
        int fd;

        g_assert_cmpstr(test_call_error_message(call), ==, NULL);
        g_assert_cmpint(sd_bus_message_read(test_call_wait(call), "h", &fd), >=, 0);
        life->handle = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        g_assert_no_errno(life->handle);
}

static int take_channel(Life *life, int peer) {
        for (;;) {
                uint64_t serial;
                int fd;

                if (life->handle < 0)
                        get_handle(life, "OpenChannel");
                wait_for(life, test_has_input(life->handle) || test_has_ended(peer));
                if (!test_has_input(life->handle))
                        return -1;
                fd = test_channel_receive(life->handle, &serial);
                g_assert_cmpint(fd, >=, 0);
                if (belong_together(peer, fd))
                        return fd;
                (void) close_fd(fd);
        }
}

static int take_socket(Life *life, int peer) {
        if (life->handle < 0)
                get_handle(life, "TakeSocket");
        wait_for(life, test_has_input(life->handle));
        return accept4(life->handle, NULL, NULL, SOCK_CLOEXEC);
}

static void hand_over(Life *life) {
        _cleanup_close_ int peer = test_connect("::1", life->port), socket = -EBADF;

        socket = life->way->take(life, peer);
        if (socket >= 0)
                test_assert_connected(peer, socket);
        else
                life->n_lost++;
}

/* Stopped for a while. */
static void pause_and_resume(Life *life) {
        _cleanup_close_ int peer = -EBADF, socket = -EBADF;

        call_listener(life, "Pause", NULL);
        peer = test_connect("::1", life->port);
        call_listener(life, "Resume", NULL);
        socket = life->way->take(life, peer);
        if (socket >= 0)
                test_assert_connected(peer, socket);
        else
                life->n_lost++;
}

/* Whoever had the listener is gone, and another one goes on with it. */
static void change_owner(Life *life) {
        g_clear_pointer(&life->client, test_client_free);
        life->handle = close_fd(life->handle);
        life->client = test_client_new(life->bus, (uid_t) -1);
        for (;;) {
                bool again;
                g_autoptr(TestCall) call = ask_listener(life, "Adopt", &again);
                const char *error = test_call_error(call);

                /* The bus may not have told yet that the one before has left. */
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

static void end_life(Life *life) {
        call_listener(life, "Close", SD_BUS_ERROR_UNKNOWN_OBJECT);
        g_assert_cmpint(test_connect_fails("::1", life->port), ==, ECONNREFUSED);
        life->handle = close_fd(life->handle);
        g_clear_pointer(&life->listener, g_free);
        g_clear_pointer(&life->client, test_client_free);
}

/* Whoever dies, at the end nothing is left. */
static void live(Life *life, FaultMode mode, uint32_t ordinal) {
        life->client = test_client_new(life->bus, (uid_t) -1);
        life->n_lost = 0;
        life->revived = false;
        *life->control = (FaultControl) { .ordinal = ordinal, .mode = mode };

        listen_on_port(life);
        hand_over(life);
        if (!streq(life->way->delivery, "socket"))
                pause_and_resume(life);
        if (life->way->persistent) {
                change_owner(life);
                hand_over(life);
        }
        end_life(life);
        life->control->mode = FAULT_OFF;
        if (life->control->fired)
                test_wait_for(revive(life) || life->revived);

        if (life->n_lost > 0) {
                g_assert_cmpuint(life->n_lost, ==, 1);
                g_assert_cmpuint(life->control->fired, ==, 1);
                g_assert_cmpuint(life->control->last, ==, FAULT_ACCEPT);
        }
        test_wait_for(keeper_has_nothing(life->keeper));
        life->n_kills += life->control->fired;
        life->n_lives++;
}

static void life_begin(Life *life, const Way *way) {
        *life = (Life) { .way = way, .handle = -EBADF, .port = test_free_port(), .bus = test_bus_new(NULL) };
        life->keeper = keeper_new(life->bus);
        fault_library_init(&life->library, life->bus);
        life->control = life->library.control;
        keeper_set_environment(life->keeper, life->library.environment);
        life->service = keeper_start(life->keeper, life->bus);
}

static void life_done(Life *life) {
        g_clear_pointer(&life->service, test_service_free);
        fault_library_done(&life->library);
        keeper_free(life->keeper);
        test_bus_free(life->bus);
}

static void test_kills(const void *data) {
        unsigned n, n_lost = 0;
        Life life;

        life_begin(&life, data);
        live(&life, FAULT_COUNT, 0);
        n = life.control->n_system_calls;
        for (uint32_t ordinal = 0; ordinal < n; ordinal++) {
                live(&life, FAULT_KILL, ordinal);
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
        g_assert_true(belong_together(left->unacknowledged_peer, accepted->socket));
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

        life_begin(&life, NULL);
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

static const Way ways[] = {
        { "signal", "signal", false, false, take_signal },
        { "acknowledge", "signal", true, false, take_signal },
        { "pull", "pull", false, false, take_pull },
        { "channel", "channel", false, false, take_channel },
        { "socket", "socket", false, false, take_socket },
        { "persistent signal", "signal", false, true, take_signal },
        { "persistent pull", "pull", false, true, take_pull },
        { "persistent channel", "channel", false, true, take_channel },
};

int main(int argc, char *argv[]) {
        test_init(&argc, &argv);
        (void) test_enter_private_network();
        for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
                g_autofree char *path = g_strdup_printf("/kills/%s", ways[i].name);

                g_test_add_data_func(path, &ways[i], test_kills);
        }
        g_test_add_data_func("/kills/while it goes on with what was left", NULL, test_kills_at_start);
        return test_run();
}
