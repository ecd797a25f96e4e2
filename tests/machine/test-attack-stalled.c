/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that get connections and never read, one and many, and in the worst of all ways: a bystander gets
 * its connections as fast as before, and a newcomer its listener. */

#include "base/macros.h"
#include "machine/attack.h"

#define ROUNDS 5U
#define ATTEMPTS 6U
#define PEERS 20U

/* What they do before they stall. */
typedef enum Kind {
        PLAIN = 1 << 0,
        FULL_BUFFER = 1 << 1, /* what is sent to them waits in the bus */
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

                g_assert_cmpint(sd_bus_message_append(message, "uu", 16, 20000), >=, 0);
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

        /* All behave well at first: later those that stall leave less to others of their uid. */
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

/* They are what they are meant to be. */
static void assert_stalled(Machine *m, GPtrArray *attackers, const char *delivery) {
        uint64_t in_flight = 0;

        for (unsigned i = 0; i < attackers->len; i++) {
                uint64_t accepted = attacker_get(m, attackers->pdata[i], "Accepted");

                in_flight += accepted - attacker_get(m, attackers->pdata[i], "Delivered");
        }
        g_test_message("%u attackers hold %" G_GUINT64_FORMAT " connections", attackers->len, in_flight);
        g_assert_cmpuint(in_flight, >, 0);
        if (!streq(delivery, "channel"))
                g_assert_cmpuint(in_flight, <, machine_get_u64(m->root, "MaxUnacknowledged"));
}

static bool is_within(const char *what, uint64_t before, uint64_t during, uint64_t most) {
        g_test_message("%s: %" G_GUINT64_FORMAT " us before, %" G_GUINT64_FORMAT
                       " us under attack, ratio %.2f",
                       what, before, during, (double) during / (double) before);
        return during <= before * most;
}

/* Of the p99 of each round a low one: many are what else this machine had to do. */
static bool compare(Machine *m, const Siege *siege, TestClient *bystander, uint16_t port, unsigned n_fds) {
        Series p99[2], listens[2];
        bool fast, answered;

        for (unsigned i = 0; i < 2; i++) {
                series_init(p99 + i);
                series_init(listens + i);
        }

        for (unsigned round = 0; round < ROUNDS; round++)
                for (unsigned attacked = 0; attacked < 2; attacked++) {
                        GPtrArray *attackers = NULL;
                        Series visits = {};

                        series_init(&visits);
                        if (attacked) {
                                attackers = besiege(m, siege);
                                assert_stalled(m, attackers, siege->delivery);
                        }
                        attack_look_on(m, bystander, port, &visits, listens + attacked);
                        series_add(p99 + attacked, series_get(&visits, 99));
                        series_done(&visits);
                        if (attackers)
                                attackers_leave(m, attackers, n_fds);
                }

        fast = is_within("p99 of connect to first byte", series_get(&p99[0], 25), series_get(&p99[1], 25), 3);
        answered = is_within("Listen", series_get(&listens[0], 25), series_get(&listens[1], 25), 2);

        for (unsigned i = 0; i < 2; i++) {
                series_done(p99 + i);
                series_done(listens + i);
        }
        return fast && answered;
}

static void test_siege(Machine *m, const void *data) {
        const Siege *siege = data;
        g_autoptr(TestClient) bystander = attack_bystander_new(m);
        g_autofree char *listener = test_listen(bystander, 0, -1, NULL);
        uint16_t port = test_get_port(bystander, listener);
        unsigned n_fds = attack_count_fds(m), attempts = 1;

        /* What only this machine's load brought about is not there each time. */
        while (!compare(m, siege, bystander, port, n_fds))
                g_assert_cmpuint(attempts++, <, ATTEMPTS);

        g_assert_cmpuint(test_get_u64(bystander, listener, "Lost"), ==, 0);
}

int main(int argc, char *argv[]) {
        static const Siege sieges[] = {
                { 1, PLAIN, "signal" },
                { 1, FULL_BUFFER, "signal" },
                { 1, GROWN | FULL_BUFFER, "signal" },
                { 8, PLAIN | FULL_BUFFER | GROWN, "signal" },
                { 64, PLAIN | FULL_BUFFER | GROWN, "signal" },
                { 64, PLAIN | FULL_BUFFER | GROWN, "pull" },
                { 64, PLAIN, "channel" },
        };

        attack_init(&argc, &argv);

        for (size_t i = 0; i < ELEMENTS(sieges); i++) {
                g_autofree char *path = g_strdup_printf(
                                "/attack/%u that do not read, by %s%s%s", sieges[i].n, sieges[i].delivery,
                                sieges[i].kinds & FULL_BUFFER ? ", their buffers full" : "",
                                sieges[i].kinds & GROWN ? ", after they had answered" : "");

                attack_add(path, test_siege, sieges + i);
        }
        return test_run();
}
