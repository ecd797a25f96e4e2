/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients of several users with all deliveries that connect, stall and die, listeners that are opened and
 * closed, and faults, at random. Each round ends with a pause: then the peers, the clients and the service
 * agree about every connection, and the service has the same resources as before.
 *
 * In the second half of the time the process is not ended, so that slow growth shows. */

#include <syslog.h>
#include <systemd/sd-journal.h>

#include "machine/soak-party.h"
#include "machine/soak-usage.h"

/* Listeners that come and go at the same time. */
#define OPEN_MAX 30U

#define SERVICE_USER "tcpserversocket"
#define ROUND_US (4U * 1000 * 1000)
#define MINUTES_DEFAULT 1.0
/* Connections of the bystander between two faults, at the most. */
#define BETWEEN 60
/* Pages that are half full, and in another way each time. */
#define MEMORY_SLACK (256U * 1024)
/* Pairs of sockets that the service adds for connections. */
#define STORED_SLACK 128U
/* A call of Accept ends after a while, and another one comes. */
#define WAKEUPS_SLACK 8U

typedef struct Soak {
        Machine *m;
        GRand *random;
        GPtrArray *parties; /* the first is the bystander */
        unsigned n_kills;
        unsigned n_listeners; /* opened and closed */
} Soak;

typedef struct Fault {
        const char *name;
        void (*inject)(Soak *s);
        bool ends_process;
        unsigned n;
} Fault;

static unsigned pick(Soak *s, unsigned minimum, unsigned maximum) {
        return (unsigned) g_rand_int_range(s->random, (gint32) minimum, (gint32) maximum + 1);
}

static Party *pick_party(Soak *s) {
        return s->parties->pdata[pick(s, 1, s->parties->len - 1)];
}

static Party *get_bystander(Soak *s) {
        return s->parties->pdata[0];
}

/* It is served all the time. */
static void wait_for_bystander(Soak *s, unsigned more) {
        uint64_t served = get_bystander(s)->served;

        test_wait_for(get_bystander(s)->served >= served + more);
}

/* ------------------------------------------------------------------------------------------- faults */

static void wait_for_next_process(Soak *s, unsigned changes) {
        test_wait_for(test_bus_owner_changes(s->m->bus) >= changes + 2 && test_bus_service_owner(s->m->bus));
}

static void kill_service(Soak *s) {
        unsigned changes = test_bus_owner_changes(s->m->bus);

        s->n_kills++;
        g_assert_no_errno(kill(machine_service_pid(), SIGKILL));
        wait_for_next_process(s, changes);
}

static void restart_service(Soak *s) {
        unsigned changes = test_bus_owner_changes(s->m->bus);

        g_free(machine_run("systemctl", "restart", MACHINE_UNIT, NULL));
        wait_for_next_process(s, changes);
}

static void reload(Soak *s) {
        g_autofree char *lines = g_strdup_printf("MaxUnacknowledged=%u\nMaxUnacknowledgedPerClient=%u",
                                                 pick(s, 16, 56), pick(s, 1, 16));

        machine_reconfigure(lines);
}

/* As its own user, which needs no privilege. */
static char *run_prlimit(pid_t pid, const char *limit, const char *columns) {
        g_autofree char *target = g_strdup_printf("--pid=%d", (int) pid);
        int status;
        char *output = machine_run_as(SERVICE_USER, &status, "prlimit", target, limit, "--noheadings",
                                      "--output", columns, NULL);

        g_assert_cmpint(status, ==, 0);
        return output;
}

static void set_limit(pid_t pid, unsigned limit) {
        g_autofree char *argument = g_strdup_printf("--nofile=%u:", limit);

        g_free(run_prlimit(pid, argument, "SOFT"));
}

/* It has no more than a few descriptors left, or none, and must make do with them. */
static void take_descriptors(Soak *s) {
        pid_t pid = machine_service_pid();
        g_autofree char *before = run_prlimit(pid, "--nofile", "SOFT");

        set_limit(pid, test_count_fds(pid) + pick(s, 0, 4));
        /* Nothing has to happen meanwhile, so nothing but time can be waited for. */
        uint64_t end = test_now() + pick(s, 1, 200) * UINT64_C(1000);
        test_wait_for(test_now() >= end);
        set_limit(pid, (unsigned) g_ascii_strtoull(before, NULL, 10));
}

static void stall_or_resume(Soak *s) {
        Party *p = pick_party(s);

        if (p->stalled)
                party_resume(p);
        else
                party_stall(p);
}

static void kill_client(Soak *s) {
        party_die(pick_party(s));
}

static void kill_stalled_client(Soak *s) {
        party_die_stalled(pick_party(s));
}

/* Of a client with a peer at each; some are closed, the others end with it. */
static void open_and_close(Soak *s) {
        static const char *const deliveries[] = { "signal", "call", "pull", "channel", "socket" };
        g_autoptr(TestClient) client = attack_client_new(s->m, pick(s, 0, ATTACKERS_UIDS - 1));
        g_autoptr(GArray) peers = g_array_new(false, false, sizeof(int));
        unsigned n = pick(s, 1, OPEN_MAX);

        test_client_set_calls(client, TEST_CALLS_ANSWER);
        for (unsigned i = 0; i < n; i++) {
                g_autofree char *listener = test_listen(client, 0, -1, "delivery", "s",
                                                        deliveries[i % ELEMENTS(deliveries)], NULL);
                int peer = test_connect("127.0.0.1", test_get_port(client, listener));

                g_array_append_val(peers, peer);
                if (pick(s, 0, 1))
                        test_listener_call(client, listener, "Close");
        }
        while (test_client_count_accepted(client) > 0)
                test_accepted_free(test_client_wait_accepted(client));
        g_clear_pointer(&client, test_client_free);
        for (unsigned i = 0; i < n; i++) {
                (void) test_wait_end(g_array_index(peers, int, i));
                close_fd(g_array_index(peers, int, i));
        }
        s->n_listeners += n;
}

static void come_and_go(Soak *s) {
        (void) attack_listen(s->m, attack_newcomer_uid());
        s->n_listeners++;
}

static Fault faults[] = {
        { "SIGKILL", kill_service, .ends_process = true },
        { "restart", restart_service, .ends_process = true },
        { "reload", reload },
        { "descriptors taken", take_descriptors },
        { "stall or resume", stall_or_resume },
        { "client killed", kill_client },
        { "stalled client killed", kill_stalled_client },
        { "listeners", open_and_close },
        { "newcomer", come_and_go },
};

static void inject(Soak *s, Fault *f) {
        /* Next to the messages of the service. */
        (void) sd_journal_print(LOG_INFO, "Now: %s", f->name);
        f->inject(s);
        f->n++;
        wait_for_bystander(s, pick(s, 1, BETWEEN));
}

/* ------------------------------------------------------------------------------------------- rounds */

/* The fd store does not shrink, so that it has to reach its maximum before the first comparison. */
static void warm_up(Soak *s) {
        g_autoptr(TestClient) client = attack_client_new(s->m, 0);

        for (unsigned i = 0; i < OPEN_MAX; i++)
                g_free(test_listen(client, 0, -1, NULL));
        s->n_listeners += OPEN_MAX;
}

/* The first one has each fault once. */
static void run_round(Soak *s, bool is_first, bool may_end_process) {
        uint64_t end = test_now() + ROUND_US;

        for (unsigned i = 0; i < s->parties->len; i++)
                party_go(s->parties->pdata[i]);
        wait_for_bystander(s, 1);
        if (is_first)
                warm_up(s);
        for (size_t i = 0; is_first && i < ELEMENTS(faults); i++)
                inject(s, faults + i);
        while (test_now() < end) {
                Fault *f = faults + pick(s, 0, ELEMENTS(faults) - 1);

                if (may_end_process || !f->ends_process)
                        inject(s, f);
        }
}

typedef struct Sums {
        uint64_t connected, served, lost, abandoned, again, deaths;
} Sums;

static Sums add_up(Soak *s) {
        Sums sums = {};

        for (unsigned i = 0; i < s->parties->len; i++) {
                Party *p = s->parties->pdata[i];

                sums.connected += p->all_connected + p->connected;
                sums.served += p->all_served + p->served;
                sums.lost += p->all_lost + p->lost;
                sums.abandoned += p->all_abandoned + p->abandoned;
                sums.again += p->again;
                sums.deaths += p->deaths;
        }
        return sums;
}

static bool is_tidy(Soak *s, const Usage *base) {
        return attack_count_fds(s->m) <= base->n_fds;
}

/* All counters of connections agree. base: the resources that the service may use, once they are known. */
static Usage check(Soak *s, const Usage *base) {
        Usage u;
        Sums sums;

        for (unsigned i = 0; i < s->parties->len; i++) {
                party_resume(s->parties->pdata[i]);
                party_hold(s->parties->pdata[i]);
        }
        for (unsigned i = 0; i < s->parties->len; i++)
                party_settle(s->parties->pdata[i]);
        if (base)
                test_wait_for(is_tidy(s, base));
        u = usage_measure();

        sums = add_up(s);
        g_test_message("%" G_GUINT64_FORMAT " connections: %" G_GUINT64_FORMAT " served, %" G_GUINT64_FORMAT
                       " lost by %u kills, %" G_GUINT64_FORMAT " abandoned by clients; %" G_GUINT64_FORMAT
                       " came twice",
                       sums.connected, sums.served, sums.lost, s->n_kills, sums.abandoned, sums.again);
        g_test_message("process %d: %" G_GUINT64_FORMAT " KiB, %u descriptors, %u in the fd store, "
                       "%" G_GUINT64_FORMAT " wake-ups a second",
                       (int) u.pid, u.memory / 1024, u.n_fds, u.n_stored, u.n_wakeups);
        g_assert_cmpuint(sums.lost, <=, s->n_kills);
        g_assert_cmpuint(u.n_wakeups, <=, WAKEUPS_SLACK);
        if (base)
                g_assert_cmpuint(u.n_stored, <=, base->n_stored + STORED_SLACK);
        return u;
}

static void assert_flat(const Usage *first, const Usage *last) {
        g_test_message("the same process, first and last: %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT
                       " KiB, %u and %u descriptors, %u and %u in the fd store, %" G_GUINT64_FORMAT
                       " and %" G_GUINT64_FORMAT " wake-ups",
                       first->memory / 1024, last->memory / 1024, first->n_fds, last->n_fds, first->n_stored,
                       last->n_stored, first->n_wakeups, last->n_wakeups);
        g_assert_cmpint(last->pid, ==, first->pid);
        g_assert_cmpuint(last->memory, <=, first->memory + MEMORY_SLACK);
        g_assert_cmpuint(last->n_fds, <=, first->n_fds);
        g_assert_cmpuint(last->n_stored, <=, first->n_stored + STORED_SLACK);
        g_assert_cmpuint(last->n_wakeups, <=, first->n_wakeups + WAKEUPS_SLACK);
}

static void summarize(Soak *s, double seconds, unsigned n_rounds) {
        Sums sums = add_up(s);

        g_test_message("%u rounds in %.0f s, %.0f connections a second; %u listeners opened and closed, "
                       "%" G_GUINT64_FORMAT " clients died; the bystander waited %.1f ms at the most",
                       n_rounds, seconds, (double) sums.connected / seconds, s->n_listeners, sums.deaths,
                       (double) get_bystander(s)->longest / 1e3);
        for (size_t i = 0; i < ELEMENTS(faults); i++)
                g_test_message("%s: %u times", faults[i].name, faults[i].n);
}

/* --------------------------------------------------------------------------------------------- test */

static const PartyKind bystander_kind = { "bystander", "signal" };
static const PartyKind kinds[] = {
        { "signal", "signal" },
        { "call, persistent", "call", .persistent = true },
        { "acknowledge", "signal", .acknowledge = true },
        { "acknowledge, persistent", "signal", .acknowledge = true, .persistent = true },
        { "pull", "pull" },
        { "pull, persistent", "pull", .persistent = true },
        { "channel", "channel" },
        { "socket", "socket" },
        { "socket, persistent", "socket", .persistent = true },
};

/* Each has another one: clients of one user share its limits. */
static uid_t get_uid(unsigned i) {
        G_STATIC_ASSERT(ELEMENTS(kinds) == ATTACKERS_UIDS + 1);
        return i < ATTACKERS_UIDS ? attack_uid(i) : machine_uid(MACHINE_WEB_USER);
}

static unsigned get_seed(void) {
        const char *text = g_getenv("TEST_SOAK_SEED");

        return text && text[0] ? (unsigned) g_ascii_strtoull(text, NULL, 10) : g_random_int();
}

static uint64_t get_duration(void) {
        const char *text = g_getenv("TEST_SOAK_MINUTES");
        double minutes = text && text[0] ? g_ascii_strtod(text, NULL) : MINUTES_DEFAULT;

        g_assert_cmpfloat(minutes, >, 0);
        return (uint64_t) (minutes * 60 * 1e6);
}

static void test_soak(Machine *m, const void *data) {
        unsigned seed = get_seed(), n_rounds = 0;
        uint64_t start = test_now(), duration = get_duration();
        Soak s = {
                .m = m,
                .random = g_rand_new_with_seed(seed),
                .parties = g_ptr_array_new_with_free_func((GDestroyNotify) party_free),
        };
        Usage base = {}, first = {}, last = {};

        g_test_message("TEST_SOAK_SEED=%u", seed);
        g_ptr_array_add(s.parties, party_new(m, &bystander_kind, machine_uid(MACHINE_USER), 1));
        for (unsigned i = 0; i < ELEMENTS(kinds); i++)
                g_ptr_array_add(s.parties, party_new(m, kinds + i, get_uid(i), PARTY_PEERS));

        run_round(&s, true, true);
        base = check(&s, NULL);
        for (n_rounds = 1; n_rounds < 4 || test_now() < start + duration; n_rounds++) {
                bool is_second_half = first.pid || (n_rounds > 1 && test_now() >= start + duration / 2);

                run_round(&s, false, !is_second_half);
                last = check(&s, &base);
                if (is_second_half && !first.pid)
                        first = last;
        }

        summarize(&s, (double) (test_now() - start) / 1e6, n_rounds);
        assert_flat(&first, &last);
        /* It was served all the time, or a deadline would have ended the test. */
        g_assert_cmpuint(get_bystander(&s)->longest, <, test_deadline(TEST_DEADLINE_MS) - test_now());
        g_ptr_array_unref(s.parties);
        g_rand_free(s.random);
}

int main(int argc, char *argv[]) {
        attack_init(&argc, &argv);

        machine_add_full("/soak/all at once", test_soak, NULL);
        return test_run();
}
