/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The service is killed a hundred times, and restarted some more times, under a steady load of connections by
 * each delivery. No connection is refused. One may be lost with each kill: the one that had been accepted and
 * not been stored yet. soak-party.h compares what the peers, the clients and the service count. */

#include "machine/soak-party.h"

#define PEERS 4U   /* of each listener at a time */
#define BETWEEN 8U /* connections of each listener between two kills */

/* The service learns the local address of a connection in two ways: from a listener of one address, or from
 * the kernel. */
static const PartyKind kinds[] = {
        { .name = "signal", .delivery = "signal", .address = "127.0.0.1" },
        { .name = "call", .delivery = "call" },
        { .name = "pull", .delivery = "pull" },
        { .name = "channel", .delivery = "channel", .address = "127.0.0.1" },
        { .name = "socket", .delivery = "socket", .address = "127.0.0.1" },
};

static bool all_have(Party *const *parties, unsigned more, const uint64_t *since) {
        for (size_t i = 0; i < ELEMENTS(kinds); i++)
                if (parties[i]->served < since[i] + more)
                        return false;
        return true;
}

static void kill_service(void) {
        g_assert_no_errno(kill(machine_service_pid(), SIGKILL));
}

static void restart_service(void) {
        g_free(machine_run("systemctl", "restart", "--no-block", MACHINE_UNIT, NULL));
}

static void end_under_load(Machine *m, unsigned times, void (*end)(void), uint64_t lost_max) {
        g_autoptr(GRand) random = g_rand_new_with_seed(1);
        uint64_t since[ELEMENTS(kinds)], n_lost = 0;
        Party *parties[ELEMENTS(kinds)];

        machine_configure_unit("RestartSec=1ms");
        for (size_t i = 0; i < ELEMENTS(kinds); i++) {
                parties[i] = party_new(m, kinds + i, machine_uid(MACHINE_USER), PEERS);
                party_go(parties[i]);
        }

        for (; times > 0; times--) {
                unsigned changes = test_bus_owner_changes(m->bus);

                for (size_t i = 0; i < ELEMENTS(kinds); i++)
                        since[i] = parties[i]->served;
                test_wait_for(all_have(parties, BETWEEN + (unsigned) g_rand_int_range(random, 0, BETWEEN),
                                       since));
                end();
                test_wait_for(test_bus_owner_changes(m->bus) >= changes + 2 &&
                              test_bus_service_owner(m->bus));
        }

        for (size_t i = 0; i < ELEMENTS(kinds); i++) {
                Party *p = parties[i];

                party_settle(p);
                g_test_message("%s: %" G_GUINT64_FORMAT " served, %" G_GUINT64_FORMAT
                               " lost, %" G_GUINT64_FORMAT " came twice",
                               p->kind->name, p->served, p->lost, p->again);
                n_lost += p->lost;
                g_assert_cmpuint(test_client_count_signals(p->client, "Closed"), ==, 0);
                party_free(p);
        }
        g_assert_cmpuint(n_lost, <=, lost_max);
}

MACHINE_TEST("a hundred kills under load") {
        end_under_load(m, 100, kill_service, 100);
}

MACHINE_TEST("restarts under load lose nothing") {
        end_under_load(m, 10, restart_service, 0);
}
