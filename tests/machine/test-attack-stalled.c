/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that get connections and never read: a bystander gets its connections as fast as before, and a
 * newcomer its listener. */

#include "machine/attack.h"

/* Rounds with and without them; more of both when the times differ too much. */
#define ROUNDS 3U
#define ROUNDS_MAX 15U
#define PEERS 20U

/* As many users as the bus cannot have shares for. */
#define CROWD 20U

/* Calls without an answer: of each client, and on dbus-daemon of all users, besides one for each of them. */
#define CALLS_PER_CLIENT 8U
#define CALLS_COMMON 24U

/* Their state before they stall. */
typedef enum Kind {
        PLAIN = 1 << 0,
        FULL_BUFFER = 1 << 1, /* messages to them wait in the bus */
        GROWN = 1 << 2,       /* they had earned a large window */
} Kind;

typedef struct Siege {
        unsigned n;
        unsigned kinds;
        const char *delivery;
} Siege;

/* Of one uid each has another, and all of them occur. */
static Kind get_kind(const Siege *siege, unsigned i) {
        static const Kind kinds[] = { PLAIN, FULL_BUFFER, GROWN | FULL_BUFFER, GROWN };

        if (siege->n == 1)
                return siege->kinds;
        for (i = i / ATTACKERS_UIDS + i;; i++)
                if ((kinds[i % ELEMENTS(kinds)] & ~siege->kinds) == 0)
                        return kinds[i % ELEMENTS(kinds)];
}

/* It does not wait for the answers, and never will. */
static void call_accept(Attacker *a, unsigned n) {
        for (; n > 0; n--) {
                sd_bus_message *message = test_message_new(a->client, a->listener, TEST_LISTENER_INTERFACE,
                                                           "Accept");

                must(sd_bus_message_append(message, "uu", 16, 20000));
                attack_call_blindly(a->client, message);
        }
}

static void stall(Attacker *a, Kind kind) {
        if (kind & FULL_BUFFER)
                attacker_fill_buffer(a);
        else
                test_client_set_stalled(a->client, true);
}

static GPtrArray *besiege(Machine *m, const Siege *siege) {
        GPtrArray *attackers = g_ptr_array_new();

        /* All behave well at first, because clients that stall leave less to others of their uid. */
        for (unsigned i = 0; i < siege->n; i++) {
                Attacker *a = attacker_new(m, i, siege->delivery);

                g_ptr_array_add(attackers, a);
                if (get_kind(siege, i) & GROWN)
                        attacker_take(a, PEERS);
                if (streq(siege->delivery, "channel"))
                        attacker_open_channel(a);
        }

        for (unsigned i = 0; i < siege->n; i++) {
                Attacker *a = attackers->pdata[i];

                stall(a, get_kind(siege, i));
                if (streq(siege->delivery, "pull"))
                        call_accept(a, 4);
                attacker_connect(a, PEERS);
        }
        return attackers;
}

static uint64_t count_in_flight(Machine *m, GPtrArray *attackers) {
        uint64_t n = 0;

        for (unsigned i = 0; i < attackers->len; i++) {
                uint64_t accepted = attacker_get(m, attackers->pdata[i], "Accepted");

                n += accepted - attacker_get(m, attackers->pdata[i], "Delivered");
        }
        return n;
}

static void assert_stalled(Machine *m, GPtrArray *attackers, const char *delivery) {
        uint64_t in_flight;

        test_wait_for((in_flight = count_in_flight(m, attackers)) > 0);
        g_test_message("%u attackers hold %" G_GUINT64_FORMAT " connections", attackers->len, in_flight);
        if (!streq(delivery, "channel") && !test_bus_is_broker())
                g_assert_cmpuint(in_flight, <=,
                                 test_get_u64(m->root, TEST_MANAGER_PATH, "MaxUnacknowledged"));
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
                assert_stalled(m, attackers, siege->delivery);
                measure(m, bystander, port, &times, 1);
                attackers_leave(m, attackers, n_fds);
        }
        times_done(&times);

        attack_assert_bus_has_room(m);
        g_assert_cmpuint(test_get_u64(bystander, listener, "Lost"), ==, 0);
}

/* Then connections have to wait, and no calls: the bus reads nothing from a service that has filled it.
 */
static void test_crowd(Machine *m, const void *data) {
        g_autoptr(TestClient) bystander = attack_bystander_new(m), newcomer = NULL;
        g_autofree char *listener = test_listen(bystander, 0, -1, NULL), *other = NULL;
        uint16_t port = test_get_port(bystander, listener);
        unsigned n_fds = attack_count_fds(m);
        GPtrArray *attackers = g_ptr_array_new();

        for (unsigned i = 0; i < 2 * CROWD; i++) {
                g_autofree char *name = g_strdup_printf("crowd-%u", i % CROWD);
                Attacker *a = attacker_new_for(m, machine_uid(name), "pull");

                g_ptr_array_add(attackers, a);
                attacker_take(a, PEERS);
        }
        for (unsigned i = 0; i < attackers->len; i++) {
                Attacker *a = attackers->pdata[i];

                attacker_fill_buffer(a);
                call_accept(a, 4);
                attacker_connect(a, PEERS);
        }
        assert_stalled(m, attackers, "pull");
        newcomer = test_client_new(m->bus, attack_newcomer_uid());
        other = test_listen(newcomer, 0, -1, NULL);
        test_client_sync_service(bystander);
        attack_assert_bus_has_room(m);

        test_client_free(g_steal_pointer(&newcomer));
        attackers_leave(m, attackers, n_fds);
        (void) attack_visit(bystander, port);
        g_assert_cmpuint(test_get_u64(bystander, listener, "Lost"), ==, 0);
}

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
                { 1, PLAIN, "signal" },
                { 1, FULL_BUFFER, "signal" },
                { 1, GROWN | FULL_BUFFER, "signal" },
                { 8, PLAIN | FULL_BUFFER | GROWN, "signal" },
                { 64, PLAIN | FULL_BUFFER | GROWN, "signal" },
                { 64, PLAIN | FULL_BUFFER | GROWN, "pull" },
                { 64, PLAIN | FULL_BUFFER | GROWN, "call" },
                { 64, PLAIN, "channel" },
        };

        attack_init(&argc, &argv);
        for (unsigned i = 0; i < CROWD; i++) {
                g_autofree char *name = g_strdup_printf("crowd-%u", i);

                g_free(machine_run("useradd", name, NULL));
        }

        for (size_t i = 0; i < ELEMENTS(sieges); i++) {
                g_autofree char *path = g_strdup_printf(
                                "/attack/%u that do not read, by %s%s%s", sieges[i].n, sieges[i].delivery,
                                sieges[i].kinds & FULL_BUFFER ? ", their buffers full" : "",
                                sieges[i].kinds & GROWN ? ", after they had answered" : "");

                attack_add(path, test_siege, sieges + i);
        }
        attack_add("/attack/64 that do not answer their calls", test_unanswered_calls, NULL);
        attack_add("/attack/more users that do not read than there are shares", test_crowd, NULL);
        return test_run();
}
