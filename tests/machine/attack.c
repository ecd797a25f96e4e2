/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine/attack.h"

/* The most that a call of Accept may wait. */
#define ACCEPT_TIMEOUT_MS 20000U

#define VISITS 100U
#define LISTENS 9U

/* The better ones of the times, in percent; by how much they may be worse than before; how often one may
 * look. */
#define BETTER 25U
#define NOTICED 3U
#define ATTEMPTS 10U

/* Pages that are half full, and in another way each time. */
#define MEMORY_SLACK (256U * 1024)

void attack_init(int *argc, char ***argv) {
        machine_init(argc, argv);
        for (unsigned i = 0; i < ATTACK_USERS; i++) {
                g_autofree char *name = g_strdup_printf("attack-%u", i);

                g_free(machine_run("useradd", name, NULL));
        }
}

static uid_t get_uid(unsigned n) {
        g_autofree char *name = g_strdup_printf("attack-%u", n);

        return machine_uid(name);
}

uid_t attack_uid(unsigned n) {
        return get_uid(n % ATTACKERS_UIDS);
}

TestClient *attack_client_new(Machine *m, unsigned n) {
        return test_client_new(m->bus, attack_uid(n));
}

TestClient *attack_bystander_new(Machine *m) {
        return test_client_new(m->bus, get_uid(ATTACKERS_UIDS));
}

uid_t attack_newcomer_uid(void) {
        return get_uid(ATTACKERS_UIDS + 1);
}

/* ----------------------------------------------------------------------------------------- attackers */

Attacker *attacker_new(Machine *m, unsigned n, const char *delivery) {
        return attacker_new_for(m, attack_uid(n), delivery);
}

Attacker *attacker_new_for(Machine *m, uid_t uid, const char *delivery) {
        Attacker *a = g_new0(Attacker, 1);

        a->bus = m->bus;
        a->client = test_client_new(m->bus, uid);
        a->delivery = delivery;
        test_client_set_calls(a->client, TEST_CALLS_ANSWER);
        a->listener = test_listen(a->client, 0, -1, "delivery", "s", delivery, NULL);
        a->port = test_get_port(a->client, a->listener);
        a->peers = g_array_new(false, false, sizeof(int));
        a->channel = -EBADF;
        return a;
}

static void close_peers(Attacker *a) {
        for (unsigned i = 0; i < a->peers->len; i++)
                close_fd(g_array_index(a->peers, int, i));
        g_array_set_size(a->peers, 0);
}

void attacker_free(Attacker *a) {
        if (!a)
                return;
        test_client_free(a->client);
        close_fd(a->channel);
        close_peers(a);
        g_array_unref(a->peers);
        g_free(a->listener);
        g_free(a);
}

void attackers_leave(Machine *m, GPtrArray *attackers, unsigned n_fds) {
        g_ptr_array_set_free_func(attackers, (GDestroyNotify) attacker_free);
        g_ptr_array_unref(attackers);
        test_wait_for(attack_count_fds(m) <= n_fds);
}

void attacker_open_channel(Attacker *a) {
        a->channel = test_listener_call_fd(a->client, a->listener, "OpenChannel");
}

void attacker_connect(Attacker *a, unsigned n) {
        for (; n > 0; n--) {
                int peer = test_connect("127.0.0.1", a->port);

                g_array_append_val(a->peers, peer);
        }
}

static unsigned pull(Attacker *a, unsigned n) {
        g_autoptr(sd_bus_message) reply = test_call(a->client, a->listener, TEST_LISTENER_INTERFACE, "Accept",
                                                    "uu", n, ACCEPT_TIMEOUT_MS);
        unsigned taken = 0;

        must(sd_bus_message_enter_container(reply, 'a', "(hsqa{sv})"));
        for (; sd_bus_message_skip(reply, "(hsqa{sv})") > 0; taken++)
                ;
        return taken;
}

void attacker_take(Attacker *a, unsigned n) {
        attacker_connect(a, n);
        while (n > 0)
                if (streq(a->delivery, "pull"))
                        n -= pull(a, n);
                else {
                        test_accepted_free(test_client_wait_accepted(a->client));
                        n--;
                }
        test_wait_for(test_get_u64(a->client, a->listener, "Delivered") == a->peers->len);
        close_peers(a);
}

void attacker_fill_buffer(Attacker *a) {
        test_clog(a->client, a->bus);
}

void attack_call_blindly(TestClient *client, sd_bus_message *message) {
        uint64_t cookie;

        /* Without a place for the cookie sd-bus says that it wants no reply. */
        must(sd_bus_send(test_client_bus(client), message, &cookie));
        must(sd_bus_flush(test_client_bus(client)));
        sd_bus_message_unref(message);
}

uint64_t attacker_get(Machine *m, Attacker *a, const char *property) {
        return test_get_u64(m->root, a->listener, property);
}

void attacker_wait_peers_end(Attacker *a) {
        for (unsigned i = 0; i < a->peers->len; i++)
                (void) test_wait_end(g_array_index(a->peers, int, i));
}

/* --------------------------------------------------------------------------------------------- times */

void series_init(Series *s) {
        s->values = g_array_new(false, false, sizeof(uint64_t));
}

void series_done(Series *s) {
        g_clear_pointer(&s->values, g_array_unref);
}

void series_add(Series *s, uint64_t microseconds) {
        g_array_append_val(s->values, microseconds);
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return x < y ? -1 : x > y;
}

uint64_t series_get(const Series *s, unsigned percent) {
        unsigned n = s->values->len;

        g_assert_cmpuint(n, >, 0);
        g_array_sort(s->values, compare);
        return g_array_index(s->values, uint64_t, MIN(n * percent / 100, n - 1));
}

uint64_t attack_visit(TestClient *client, uint16_t port) {
        uint64_t start = test_now();
        _cleanup_close_ int peer = test_connect("127.0.0.1", port);
        g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);

        test_send(accepted->socket, "!", 1);
        test_expect(peer, "!");
        return test_now() - start;
}

uint64_t attack_listen(Machine *m, uid_t uid) {
        g_autoptr(TestClient) client = test_client_new(m->bus, uid);

        uint64_t start = test_now();
        g_autofree char *listener = test_listen(client, 0, -1, NULL);
        uint64_t end = test_now();
        /* The listener works. */
        (void) attack_visit(client, test_get_port(client, listener));
        return end - start;
}

void attack_look_on(Machine *m, TestClient *bystander, uint16_t port, Series *visits, Series *listens) {
        /* The first few find the caches cold. */
        for (unsigned i = 0; i < VISITS / 10; i++)
                (void) attack_visit(bystander, port);

        for (unsigned i = 0; i < VISITS; i++)
                series_add(visits, attack_visit(bystander, port));
        for (unsigned i = 0; i < LISTENS; i++)
                series_add(listens, attack_listen(m, attack_newcomer_uid()));
}

/* --------------------------------------------------------------------------------------------- usage */

uint64_t attack_get_memory(void) {
        pid_t pid = machine_service_pid();
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid), *content = NULL;
        g_autoptr(GError) error = NULL;

        (void) g_file_get_contents(path, &content, NULL, &error);
        g_assert_no_error(error);
        const char *line = strstr(content, "RssAnon:");
        g_assert_nonnull(line);
        return g_ascii_strtoull(line + strlen("RssAnon:"), NULL, 10) * 1024;
}

/* Without those that it has put aside for the next process, of which it keeps a bounded number for later. */
unsigned attack_count_fds(Machine *m) {
        g_autofree char *stored = machine_get_unit("NFileDescriptorStore");

        test_client_sync_service(m->root);
        return test_count_fds(machine_service_pid()) - (unsigned) g_ascii_strtoull(stored, NULL, 10);
}

void attack_assert_bus_has_room(Machine *m, unsigned bus_limit) {
        g_autoptr(sd_bus_message) reply = NULL;
        const char *key;
        uint32_t peak = 0;

        if (test_bus_is_broker())
                return;
        must(sd_bus_call_method(test_client_bus(m->root), "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                "org.freedesktop.DBus.Debug.Stats", "GetConnectionStats", NULL, &reply, "s",
                                TEST_BUS_NAME));
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "s", &key), >, 0);
                if (streq(key, "PeakIncomingFDs"))
                        g_assert_cmpint(sd_bus_message_read(reply, "v", "u", &peak), >, 0);
                else
                        must(sd_bus_message_skip(reply, "v"));
                must(sd_bus_message_exit_container(reply));
        }
        g_test_message("the bus held up to %u descriptors", peak);
        g_assert_cmpuint(peak, >, 0);
        g_assert_cmpuint(peak, <, bus_limit);
        g_assert_cmpuint(peak, <=, test_get_u64(m->root, TEST_MANAGER_PATH, "MaxUnacknowledged"));
}

typedef struct AttackTest {
        MachineTest run;
        const void *data;
} AttackTest;

static void run_twice(Machine *m, const void *data) {
        const AttackTest *test = data;

        test->run(m, test->data);
        pid_t pid = machine_service_pid();
        uint64_t memory = attack_get_memory();

        test->run(m, test->data);
        g_assert_cmpint(machine_service_pid(), ==, pid);
        g_test_message("memory: %" G_GUINT64_FORMAT " KiB, and after another time %" G_GUINT64_FORMAT " KiB",
                       memory / 1024, attack_get_memory() / 1024);
        g_assert_cmpuint(attack_get_memory(), <=, memory + MEMORY_SLACK);
}

void attack_add(const char *path, MachineTest test, const void *data) {
        static AttackTest tests[16];
        static unsigned n_tests;

        g_assert_cmpuint(n_tests, <, ELEMENTS(tests));
        tests[n_tests] = (AttackTest) { .run = test, .data = data };
        machine_add_full(path, run_twice, tests + n_tests++);
}

/* --------------------------------------------------------------------------------------------- watch */

void watch_init(Watch *w, Machine *m) {
        *w = (Watch) { .bystander = attack_bystander_new(m), .listen_factor = NOTICED };
        w->listener = test_listen(w->bystander, 0, -1, NULL);
        w->port = test_get_port(w->bystander, w->listener);
        series_init(&w->visits);
        series_init(&w->listens);
        attack_look_on(m, w->bystander, w->port, &w->visits, &w->listens);
        w->n_fds = attack_count_fds(m);
}

static bool is_unnoticed(Watch *w, Machine *m) {
        uint64_t visit[2], listen[2];
        Series visits, listens;

        series_init(&visits);
        series_init(&listens);
        attack_look_on(m, w->bystander, w->port, &visits, &listens);
        visit[0] = series_get(&w->visits, BETTER);
        visit[1] = series_get(&visits, BETTER);
        listen[0] = series_get(&w->listens, BETTER);
        listen[1] = series_get(&listens, BETTER);
        series_done(&visits);
        series_done(&listens);

        g_test_message("connect to first byte: %" G_GUINT64_FORMAT " us, was %" G_GUINT64_FORMAT
                       "; Listen: %" G_GUINT64_FORMAT " us, was %" G_GUINT64_FORMAT,
                       visit[1], visit[0], listen[1], listen[0]);
        return visit[1] <= visit[0] * NOTICED && listen[1] <= listen[0] * w->listen_factor;
}

void watch_assert_unnoticed(Watch *w, Machine *m) {
        unsigned attempts = 1;

        while (!is_unnoticed(w, m))
                g_assert_cmpuint(attempts++, <, ATTEMPTS);
}

void watch_done(Watch *w, Machine *m) {
        test_wait_for(attack_count_fds(m) <= w->n_fds);
        g_assert_cmpuint(test_get_u64(w->bystander, w->listener, "Lost"), ==, 0);
        test_client_free(w->bystander);
        g_free(w->listener);
        series_done(&w->visits);
        series_done(&w->listens);
}
