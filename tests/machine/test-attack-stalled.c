/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that do not read: a bystander gets its connections as fast as before, and a newcomer its listener.
 *
 * The socket of a client has room for many connections. They are delivered, though the client has not read
 * them. Only behind a full socket do messages wait in dbus-daemon. dbus-broker takes over a number of
 * connections for each client, which are delivered with that. */

#include "machine/attack.h"

/* Rounds with and without them; more of both when the times differ too much. */
#define ROUNDS 3U
#define ROUNDS_MAX 15U
#define PEERS 20U
#define ACCEPT_CALLS 4U
#define VISITS 10U

/* max_incoming_unix_fds of dbus-daemon, and the setting that tcpserversocketd.conf(5) has for it. */
#define RAISED_BUS_LIMIT 512
#define RAISED_BUDGET 480
#define BUS_CONFIGURATION "/etc/dbus-1/system.d/50-test.conf"

/* Calls without an answer: of each client, and on dbus-daemon of all users, besides one for each of them. */
#define CALLS_PER_CLIENT 8U
#define CALLS_COMMON 24U

typedef enum Sockets {
        EMPTY,
        MIXED, /* of the clients of each user, every second one's is full */
        FULL,
} Sockets;

typedef struct Siege {
        const char *name;
        unsigned n;
        Sockets sockets;
        const char *delivery;
} Siege;

static bool is_full(const Siege *siege, unsigned i) {
        return siege->sockets == FULL || (siege->sockets == MIXED && (i / ATTACKERS_UIDS + i) % 2 == 1);
}

/* It does not wait for the replies. */
static void call_accept(Attacker *a) {
        for (unsigned i = 0; i < ACCEPT_CALLS; i++) {
                sd_bus_message *message = test_message_new(a->client, a->listener, TEST_LISTENER_INTERFACE,
                                                           "Accept");

                must(sd_bus_message_append(message, "uu", 16, 20000));
                attack_call_blindly(a->client, message);
        }
}

static void attacker_stall(Attacker *a, bool full) {
        if (streq(a->delivery, "channel"))
                attacker_open_channel(a);
        if (full)
                attacker_fill_buffer(a);
        else
                test_client_set_stalled(a->client, true);
        if (streq(a->delivery, "pull"))
                call_accept(a);
        attacker_connect(a, PEERS);
}

static GPtrArray *besiege(Machine *m, const Siege *siege) {
        GPtrArray *attackers = g_ptr_array_new();

        /* Clients that stall leave less to others of their user. */
        for (unsigned i = 0; i < siege->n; i++)
                g_ptr_array_add(attackers, attacker_new(m, i, siege->delivery));
        for (unsigned i = 0; i < siege->n; i++)
                attacker_stall(attackers->pdata[i], is_full(siege, i));
        return attackers;
}

static uint64_t sum(Machine *m, GPtrArray *attackers, const char *property) {
        uint64_t n = 0;

        for (unsigned i = 0; i < attackers->len; i++)
                n += attacker_get(m, attackers->pdata[i], property);
        return n;
}

/* Accepted, and neither delivered nor lost. */
static uint64_t count_in_flight(Machine *m, GPtrArray *attackers) {
        uint64_t delivered = sum(m, attackers, "Delivered");

        return sum(m, attackers, "Accepted") - delivered;
}

static void wait_until_stalled(Machine *m, GPtrArray *attackers, const Siege *siege) {
        bool is_channel = streq(siege->delivery, "channel"), is_call = streq(siege->delivery, "call");
        uint64_t n = 0;

        if (is_channel || is_call || (siege->sockets != EMPTY && !test_bus_is_broker()))
                test_wait_for((n = count_in_flight(m, attackers)) > 0);
        else
                test_wait_for(sum(m, attackers, "Delivered") >= attackers->len);
        g_test_message("%u attackers hold %" G_GUINT64_FORMAT " connections", attackers->len, n);
        if (!is_channel && !test_bus_is_broker())
                g_assert_cmpuint(n, <=, test_get_u64(m->root, TEST_MANAGER_PATH, "MaxUnacknowledged"));
}

static bool is_within(const char *what, uint64_t before, uint64_t during, uint64_t most) {
        g_test_message("%s: %" G_GUINT64_FORMAT " us before, %" G_GUINT64_FORMAT
                       " us under attack, ratio %.2f",
                       what, before, during, (double) during / (double) before);
        return during <= before * most;
}

/* The times of all rounds, without the attackers and with them. */
typedef struct Times {
        Series p99[2]; /* of each round */
        Series listens[2];
} Times;

static void times_init(Times *t) {
        for (unsigned i = 0; i < 2; i++) {
                series_init(t->p99 + i);
                series_init(t->listens + i);
        }
}

static void times_done(Times *t) {
        for (unsigned i = 0; i < 2; i++) {
                series_done(t->p99 + i);
                series_done(t->listens + i);
        }
}

static void measure(Machine *m, TestClient *bystander, uint16_t port, Times *times, unsigned attacked) {
        Series visits;

        series_init(&visits);
        attack_look_on(m, bystander, port, &visits, times->listens + attacked);
        series_add(times->p99 + attacked, series_get(&visits, 99));
        series_done(&visits);
}

static bool is_fine(const Times *t) {
        bool fast = is_within("p99 of connect to first byte", series_get(&t->p99[0], 50),
                              series_get(&t->p99[1], 50), 3);
        bool answered = is_within("Listen", series_get(&t->listens[0], 25), series_get(&t->listens[1], 25),
                                  2);
        return fast && answered;
}

static void test_siege(Machine *m, const void *data) {
        const Siege *siege = data;
        g_autoptr(TestClient) bystander = attack_bystander_new(m);
        g_autofree char *listener = test_listen(bystander, 0, -1, NULL);
        uint16_t port = test_get_port(bystander, listener);
        unsigned n_fds = attack_count_fds(m);
        Times times;

        times_init(&times);
        for (unsigned round = 0; round < ROUNDS || !is_fine(&times); round++) {
                GPtrArray *attackers;

                g_assert_cmpuint(round, <, ROUNDS_MAX);
                measure(m, bystander, port, &times, 0);
                attackers = besiege(m, siege);
                wait_until_stalled(m, attackers, siege);
                measure(m, bystander, port, &times, 1);
                attackers_leave(m, attackers, n_fds);
        }
        times_done(&times);

        attack_assert_bus_has_room(m, ATTACK_BUS_LIMIT);
        g_assert_cmpuint(test_get_u64(bystander, listener, "Lost"), ==, 0);
}

/* ------------------------------------------------------------------------------------------- crowds */

/* Each user has two clients with full sockets, and as many connections on the bus as allowed. */
typedef struct Crowd {
        unsigned n_users;
        const char *delivery;
        bool raised; /* the limits */
} Crowd;

static GPtrArray *crowd_new(Machine *m, const Crowd *crowd) {
        GPtrArray *attackers = g_ptr_array_new();

        for (unsigned i = 0; i < 2 * crowd->n_users; i++) {
                g_autofree char *name = g_strdup_printf("crowd-%u", i % crowd->n_users);

                g_ptr_array_add(attackers, attacker_new_for(m, machine_uid(name), crowd->delivery));
        }
        for (unsigned i = 0; i < attackers->len; i++)
                attacker_stall(attackers->pdata[i], true);
        return attackers;
}

static bool all_have(Machine *m, GPtrArray *attackers, uint64_t least) {
        for (unsigned i = 0; i < attackers->len; i++)
                if (attacker_get(m, attackers->pdata[i], "Accepted") < least)
                        return false;
        return true;
}

/* On dbus-daemon, one for each user, and three of seven that are for all. */
static void crowd_wait_until_stalled(Machine *m, const Crowd *crowd, GPtrArray *attackers) {
        uint64_t budget = test_get_u64(m->root, TEST_MANAGER_PATH, "MaxUnacknowledged");

        if (test_bus_is_broker())
                test_wait_for(all_have(m, attackers,
                                       streq(crowd->delivery, "pull") ? ACCEPT_CALLS : test_get_window()));
        else
                test_wait_for(count_in_flight(m, attackers) == crowd->n_users + budget * 3 / 7);
}

/* As tcpserversocketd.conf(5) says. dbus-daemon applies its limit to new connections only. */
static void raise_limits(Machine *m) {
        if (test_get_u64(m->root, TEST_MANAGER_PATH, "MaxUnacknowledged") == RAISED_BUDGET)
                return;

        machine_write(BUS_CONFIGURATION, "<busconfig>\n"
                                         "  <limit name=\"max_incoming_unix_fds\">" G_STRINGIFY(
                                                         RAISED_BUS_LIMIT) "</limit>\n"
                                                                           "</busconfig>\n");
        g_free(machine_run("systemctl", "reload", "dbus"));
        machine_configure("MaxUnacknowledged=" G_STRINGIFY(RAISED_BUDGET));
        g_free(machine_run("systemctl", "restart", MACHINE_UNIT));
        g_assert_cmpuint(test_get_u64(m->root, TEST_MANAGER_PATH, "MaxUnacknowledged"), ==, RAISED_BUDGET);
}

static void assert_serves(TestClient *client, const char *listener) {
        uint16_t port = test_get_port(client, listener);

        for (unsigned i = 0; i < VISITS; i++)
                (void) attack_visit(client, port);
        test_assert_counters(client, listener, VISITS, VISITS);
}

static void test_crowd(Machine *m, const void *data) {
        const Crowd *crowd = data;
        g_autoptr(TestClient) bystander = attack_bystander_new(m), newcomer = NULL;
        g_autofree char *listener = test_listen(bystander, 0, -1, NULL), *other = NULL;
        unsigned n_fds;

        if (crowd->raised)
                raise_limits(m);
        n_fds = attack_count_fds(m);
        GPtrArray *attackers = crowd_new(m, crowd);
        crowd_wait_until_stalled(m, crowd, attackers);
        newcomer = test_client_new(m->bus, attack_newcomer_uid());
        other = test_listen(newcomer, 0, -1, NULL);
        assert_serves(newcomer, other);
        assert_serves(bystander, listener);
        attack_assert_bus_has_room(m, crowd->raised ? RAISED_BUS_LIMIT : ATTACK_BUS_LIMIT);

        test_client_free(g_steal_pointer(&newcomer));
        attackers_leave(m, attackers, n_fds);
}

/* --------------------------------------------------------------------------------- unanswered calls */

static unsigned count_held(GPtrArray *attackers) {
        unsigned n = 0;

        for (unsigned i = 0; i < attackers->len; i++)
                n += test_client_count_held(((Attacker *) attackers->pdata[i])->client);
        return n;
}

/* They read their calls and never answer: all are under way that the service makes at a time. */
static void test_unanswered_calls(Machine *m, const void *data) {
        g_autoptr(TestClient) newcomer = NULL;
        GPtrArray *attackers = g_ptr_array_new();
        unsigned n_fds = attack_count_fds(m);
        unsigned n_calls = test_bus_is_broker() ? 64 * CALLS_PER_CLIENT : ATTACKERS_UIDS + CALLS_COMMON;
        g_autofree char *listener = NULL;
        uint16_t port;

        for (unsigned i = 0; i < 64; i++) {
                Attacker *a = attacker_new(m, i, "call");

                g_ptr_array_add(attackers, a);
                test_client_set_calls(a->client, TEST_CALLS_HOLD);
                attacker_connect(a, PEERS);
        }
        test_wait_for(count_held(attackers) == n_calls);
        test_settle(m->root);
        g_assert_cmpuint(count_held(attackers), ==, n_calls);

        newcomer = test_client_new(m->bus, attack_newcomer_uid());
        test_client_set_calls(newcomer, TEST_CALLS_ANSWER);
        listener = test_listen(newcomer, 0, -1, TEST_CALL, NULL);
        port = test_get_port(newcomer, listener);
        for (unsigned n = 0; n < PEERS; n++)
                (void) attack_visit(newcomer, port);
        g_assert_cmpuint(test_get_u64(newcomer, listener, "Delivered"), ==, PEERS);

        /* The connections of the others wait until they answer. */
        for (unsigned i = 0; i < attackers->len; i++) {
                Attacker *a = attackers->pdata[i];

                test_client_set_calls(a->client, TEST_CALLS_ANSWER);
                while (test_client_count_held(a->client) > 0)
                        test_client_answer_call(a->client, NULL);
        }
        for (unsigned i = 0; i < attackers->len; i++)
                test_wait_for(attacker_get(m, attackers->pdata[i], "Delivered") == PEERS);

        test_client_free(g_steal_pointer(&newcomer));
        attackers_leave(m, attackers, n_fds);
}

int main(int argc, char *argv[]) {
        static const Siege sieges[] = {
                { "/attack/a client that does not read, by signal", 1, EMPTY, "signal" },
                { "/attack/a client with a full socket, by signal", 1, FULL, "signal" },
                { "/attack/8 clients that do not read, by signal", 8, MIXED, "signal" },
                { "/attack/64 clients that do not read, by signal", 64, MIXED, "signal" },
                { "/attack/64 clients that do not read, by pull", 64, MIXED, "pull" },
                { "/attack/64 clients that do not read, by call", 64, MIXED, "call" },
                { "/attack/64 clients that do not read, by channel", 64, EMPTY, "channel" },
        };
        /* tcpserversocketd.conf(5) promises these numbers. */
        static const Crowd signal = { 31, "signal", false }, pull = { 31, "pull", false },
                           more_signal = { 40, "signal", true }, more_pull = { 40, "pull", true };

        attack_init(&argc, &argv);
        for (unsigned i = 0; i < more_signal.n_users; i++) {
                g_autofree char *name = g_strdup_printf("crowd-%u", i);

                g_free(machine_run("useradd", name, NULL));
        }

        for (size_t i = 0; i < ELEMENTS(sieges); i++)
                attack_add(sieges[i].name, test_siege, sieges + i);
        attack_add("/attack/64 that do not answer their calls", test_unanswered_calls, NULL);
        attack_add("/attack/31 users that do not read leave room for others, by signal", test_crowd, &signal);
        attack_add("/attack/31 users that do not read leave room for others, by pull", test_crowd, &pull);
        attack_add("/attack/higher limits leave room beside 40 users, by signal", test_crowd, &more_signal);
        attack_add("/attack/higher limits leave room beside 40 users, by pull", test_crowd, &more_pull);
        return test_run();
}
