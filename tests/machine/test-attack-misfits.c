/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that cannot take connections, or leave at the wrong time: each has its documented effect, and no
 * other client is affected. */

#include <grp.h>
#include <pwd.h>
#include <sys/resource.h>

#include "base/message-ids.h"
#include "base/rate-limit.h"
#include "machine/attack.h"

#define PEERS 20U
#define LOST "MESSAGE_ID=" MESSAGE_CONNECTION_LOST_STR

static void test_without_answers(Machine *m, const void *data) {
        Watch watch;

        watch_init(&watch, m);
        g_autoptr(Attacker) a = attacker_new(m, 0, "signal");
        test_client_set_silent(a->client, true);
        attacker_connect(a, PEERS);
        test_wait_for(test_client_count_accepted(a->client) == PEERS);
        test_wait_for(attacker_get(m, a, "Delivered") == PEERS);
        watch_assert_unnoticed(&watch, m);

        test_client_free(g_steal_pointer(&a->client));
        attacker_wait_peers_end(a);
        watch_done(&watch, m);
}

/* dbus-daemon lets the service wait for 128 replies in all, polkit's included. */
static void test_acknowledging_without_answers(Machine *m, const void *data) {
        g_autoptr(GPtrArray) clients = g_ptr_array_new_with_free_func((GDestroyNotify) test_client_free);
        Watch watch;

        watch_init(&watch, m);
        for (unsigned i = 0; i < 140; i++) {
                TestClient *client = attack_client_new(m, 0);

                g_ptr_array_add(clients, client);
                test_client_set_silent(client, true);
                g_autofree char *listener = test_listen(client, 0, -1, TEST_ACKNOWLEDGE, NULL);
                _cleanup_close_ int peer = test_connect("127.0.0.1", test_get_port(client, listener));
                g_autoptr(TestAccepted) accepted = test_client_wait_accepted(client);
                sd_bus_message_unref(test_call(client, listener, TEST_LISTENER_INTERFACE, "Acknowledge", "t",
                                               accepted->serial));
                test_listener_call(client, listener, "Close");
        }
        watch_assert_unnoticed(&watch, m);
        g_clear_pointer(&clients, g_ptr_array_unref);
        watch_done(&watch, m);
}

/* ------------------------------------------------------------------------- one that closes nothing */

static int on_hoarded(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *listener;
        int fd;

        if (sd_bus_message_read(message, "oh", &listener, &fd) < 0)
                return 0;
        (void) sd_bus_message_ref(message);
        (void) !write(fd, "!", 1);
        printf("took one\n");
        fflush(stdout);
        return 0;
}

/* Another process: it has its own descriptors. */
static int hoard(void) {
        g_autoptr(sd_bus_message) reply = NULL;
        const char *listener;
        sd_bus *bus = NULL;
        uint16_t port;

        int r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                        "AcceptSocket", on_hoarded, NULL);
        if (r >= 0)
                r = sd_bus_call_method(bus, TEST_BUS_NAME, TEST_MANAGER_PATH, TEST_MANAGER_INTERFACE,
                                       "Listen", NULL, &reply, "ia{sv}i", 0, 0, -1);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &listener);
        if (r >= 0)
                r = sd_bus_get_property_trivial(bus, TEST_BUS_NAME, listener, TEST_LISTENER_INTERFACE,
                                                "LocalPort", NULL, 'q', &port);
        if (r >= 0)
                printf("listens on %u as %s\n", port, listener);
        fflush(stdout);
        while (r >= 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        }
        printf("ends: %s\n", strerror(-r));
        return 3;
}

static void become_hoarder(void *data) {
        const struct passwd *user = getpwnam(MACHINE_USER);

        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &(struct rlimit) { 40, 40 }));
        g_assert_no_errno(initgroups(user->pw_name, user->pw_gid));
        g_assert_no_errno(setgid(user->pw_gid));
        g_assert_no_errno(setuid(user->pw_uid));
}

static unsigned count(const char *text, const char *word) {
        unsigned n = 0;

        for (; (text = strstr(text, word)); text++)
                n++;
        return n;
}

/* How many peers have received a byte or their end, or the byte alone. */
static unsigned count_peers(const int *peers, size_t n, bool ended) {
        unsigned found = 0;
        char byte;

        for (size_t i = 0; i < n; i++)
                if (peers[i] >= 0) {
                        ssize_t received = recv(peers[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK);

                        found += received == 1 || (ended && (received == 0 || errno != EAGAIN));
                }
        return found;
}

static unsigned count_taken(const char *log) {
        g_autofree char *output = NULL;

        return g_file_get_contents(log, &output, NULL, NULL) ? count(output, "took one") : 0;
}

static void test_out_of_descriptors(Machine *m, const void *data) {
        g_autofree char *directory = test_make_directory("hoarder"), *output = NULL;
        g_autofree char *log = g_build_filename(directory, "output", NULL);
        TestSpawn options = { .log = log, .setup = become_hoarder };
        unsigned served = 0, connected = 0, port;
        int peers[60];
        Watch watch;

        watch_init(&watch, m);
        g_autoptr(TestChild) child = test_child_new(WORDS("/proc/self/exe", "--hoard"), &options);
        test_show_on_failure(log);
        test_wait_for(test_file_contains(log, " as "));
        g_assert_true(g_file_get_contents(log, &output, NULL, NULL));
        g_assert_cmpint(sscanf(output, "listens on %u", &port), ==, 1);

        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                peers[i] = test_connect_start(NULL, "127.0.0.1", (uint16_t) port);
                connected += peers[i] >= 0;
        }
        watch_assert_unnoticed(&watch, m);
        /* The kernel truncates messages for a process without free descriptors. libsystemd disconnects then;
         * since version 262 at the latest, it drops the message and the connection in it. */
        test_wait_for(test_child_has_exited(child) ||
                      (count_peers(peers, ELEMENTS(peers), true) == connected &&
                       count_peers(peers, ELEMENTS(peers), false) == count_taken(log)));
        if (!test_child_has_exited(child)) {
                test_child_signal(child, SIGKILL);
                (void) test_child_wait(child);
        } else
                g_assert_cmpint(test_child_wait(child), ==, 3);

        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                char byte;

                /* The last ones may have come too late. */
                if (peers[i] < 0)
                        continue;
                (void) test_wait_fd(peers[i], POLLIN);
                served += recv(peers[i], &byte, 1, MSG_DONTWAIT) == 1;
                (void) test_wait_end(peers[i]);
                close_fd(peers[i]);
        }
        g_clear_pointer(&output, g_free);
        g_assert_true(g_file_get_contents(log, &output, NULL, NULL));
        g_test_message("it took %u", served);
        g_assert_cmpuint(served, ==, count(output, "took one"));
        g_assert_cmpuint(served, >, 10);
        g_assert_cmpuint(served, <, 40);
        test_forget(log);
        watch_done(&watch, m);
}

/* ---------------------------------------------------------------------------------------------------- */

static void test_leaves_mid_delivery(Machine *m, const void *data) {
        g_autofree char *since = machine_journal_end(), *owner = NULL;
        static unsigned user;
        Watch watch;

        watch_init(&watch, m);
        /* Another one each time: the log names 30 of one user in a minute. */
        g_autoptr(Attacker) a = attacker_new(m, user++, "signal");
        attacker_take(a, PEERS);
        test_clog(a->client, m->bus);
        attacker_connect(a, PEERS);
        watch_assert_unnoticed(&watch, m);
        uint64_t in_flight = attacker_get(m, a, "Accepted") - attacker_get(m, a, "Delivered");
        /* dbus-broker has taken them over for the client. */
        if (!test_bus_is_broker())
                g_assert_cmpuint(in_flight, >, 1);
        owner = g_strdup_printf("OWNER=%s", test_client_name(a->client));

        test_client_free(g_steal_pointer(&a->client));
        attacker_wait_peers_end(a);
        watch_done(&watch, m);
        g_assert_cmpuint(machine_journal_count(since, LOST, owner, NULL), ==, in_flight);
}

/* Further lost connections are counted in one message, so that a client cannot flood the log. */
static void test_loses_more_than_is_logged(Machine *m, const void *data) {
        g_autofree char *since = machine_journal_end(), *owner = NULL, *suppressed = NULL;
        g_autoptr(Attacker) a = attacker_new(m, 0, "channel");
        unsigned n = 50, logged;

        attacker_open_channel(a);
        attacker_connect(a, n);
        test_wait_for(attacker_get(m, a, "Accepted") == n);
        owner = g_strdup_printf("OWNER=%s", test_client_name(a->client));
        test_client_free(g_steal_pointer(&a->client));
        a->channel = close_fd(a->channel);
        attacker_wait_peers_end(a);
        /* At its end, the service logs the number of the others. */
        machine_stop_service();

        logged = machine_journal_count(since, LOST, owner, NULL);
        g_test_message("of %u lost connections %u are named", n, logged);
        g_assert_cmpuint(logged, ==, RATE_LIMIT_BURST);
        suppressed = g_strdup_printf("MESSAGE=Suppressed %u messages about user %u", n - logged,
                                     (unsigned) attack_uid(0));
        g_assert_cmpuint(machine_journal_count(since, suppressed, NULL), ==, 1);
}

/* The next client gets what waits in dbus-daemon and in the kernel. dbus-broker has taken connections over
 * for the first client, and they end with it. */
static void test_leaves_a_persistent_one(Machine *m, const void *data) {
        uint64_t delivered;
        Watch watch;
        int peers[2 * PEERS];

        watch_init(&watch, m);
        g_autoptr(TestClient) first = attack_client_new(m, 0);
        g_autofree char *listener = test_listen(first, 0, -1, TEST_PERSISTENT, NULL);
        test_clog(first, m->bus);
        for (size_t i = 0; i < ELEMENTS(peers); i++)
                peers[i] = test_connect("127.0.0.1", test_get_port(m->root, listener));
        test_wait_for(test_get_u64(m->root, listener, "Accepted") >= test_get_window());
        watch_assert_unnoticed(&watch, m);
        delivered = test_get_u64(m->root, listener, "Delivered");
        g_assert_true(test_bus_is_broker() ? delivered > 0 : delivered == 0);
        test_client_free(g_steal_pointer(&first));
        watch_assert_unnoticed(&watch, m);

        g_autoptr(TestClient) next = attack_client_new(m, 0);
        test_listener_call(next, listener, "Adopt");
        for (size_t i = 0; i < ELEMENTS(peers); i++) {
                if (i < delivered)
                        (void) test_wait_end(peers[i]);
                else
                        test_client_expect_accepted(next, listener, peers[i], i + 1);
                close_fd(peers[i]);
        }
        test_assert_counters(next, listener, ELEMENTS(peers), ELEMENTS(peers));
        test_listener_call(next, listener, "Close");
        test_client_free(g_steal_pointer(&next));
        watch_done(&watch, m);
}

int main(int argc, char *argv[]) {
        if (argc > 1 && streq(argv[1], "--hoard"))
                return hoard();

        attack_init(&argc, &argv);
        attack_add("/attack/a client that answers no Ping", test_without_answers, NULL);
        attack_add("/attack/140 clients that acknowledge and answer no Ping",
                   test_acknowledging_without_answers, NULL);
        attack_add("/attack/a client that closes nothing", test_out_of_descriptors, NULL);
        attack_add("/attack/a client that leaves during delivery", test_leaves_mid_delivery, NULL);
        machine_add_full("/attack/a client that loses more connections than are logged",
                         test_loses_more_than_is_logged, NULL);
        attack_add("/attack/a client that leaves a persistent listener during delivery",
                   test_leaves_a_persistent_one, NULL);
        return test_run();
}
