/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* For the tests of attacks: users, clients that misbehave and their peers, and two clients that must not be
 * affected: a bystander, which has a listener all the time, and a newcomer, which makes one.
 *
 * Times are compared with those of the same run without the attack. Other load of the machine affects only
 * the worst of them, and for a while: so the better ones are compared, and again a few times if they differ
 * too much. The effect of an attack would be in all of them. */

#include "machine/machine.h"

/* Each has its own uid; the last two are the bystander and the newcomer. */
#define ATTACK_USERS 10U
#define ATTACKERS_UIDS (ATTACK_USERS - 2)

/* With so many descriptors of one sender, dbus-daemon reads nothing more from it (max_incoming_unix_fds). */
#define ATTACK_BUS_LIMIT 64U

typedef struct Attacker {
        TestBus *bus;
        TestClient *client;
        const char *delivery;
        char *listener;
        uint16_t port;
        GArray *peers; /* int */
        int channel;   /* if it has opened it */
} Attacker;

/* Times in µs. */
typedef struct Series {
        GArray *values;
} Series;

/* In place of machine_init() and machine_add(). Each test runs twice, and the service must not need more
 * memory after the second time than after the first. */
void attack_init(int *argc, char ***argv);
void attack_add(const char *path, MachineTest test, const void *data);

/* The n-th user's; any n, they take turns. */
uid_t attack_uid(unsigned n);
TestClient *attack_client_new(Machine *m, unsigned n);
TestClient *attack_bystander_new(Machine *m);
uid_t attack_newcomer_uid(void);

/* delivery: of its listener. */
Attacker *attacker_new(Machine *m, unsigned n, const char *delivery);
Attacker *attacker_new_for(Machine *m, uid_t uid, const char *delivery);
void attacker_free(Attacker *a);
/* When all have left, and the service has cleaned up after them. */
void attackers_leave(Machine *m, GPtrArray *attackers, unsigned n_fds);
/* It never reads it. */
void attacker_open_channel(Attacker *a);
/* So many more peers connect. */
void attacker_connect(Attacker *a, unsigned n);
/* Takes n connections. */
void attacker_take(Attacker *a, unsigned n);
/* Calls a method and never reads the reply. Consumes the message. */
void attack_call_blindly(TestClient *client, sd_bus_message *message);
/* Neither reads nor answers any more, and messages to it have to wait in the bus: its socket is full. */
void attacker_fill_buffer(Attacker *a);
/* A property of its listener, read by root. */
uint64_t attacker_get(Machine *m, Attacker *a, const char *property);
/* How the connections of its peers have ended, once all have. */
void attacker_wait_peers_end(Attacker *a);

void series_init(Series *s);
void series_done(Series *s);
void series_add(Series *s, uint64_t microseconds);
uint64_t series_get(const Series *s, unsigned percent);

/* One connection to the listener, with a byte from its client; how long that took. */
uint64_t attack_visit(TestClient *client, uint16_t port);
/* One Listen of a client of this uid that is new to the service; how long it took. */
uint64_t attack_listen(Machine *m, uid_t uid);

/* The bystander gets a number of connections and the newcomer its listener. */
void attack_look_on(Machine *m, TestClient *bystander, uint16_t port, Series *visits, Series *listens);

/* A bystander, and its times without an attack. */
typedef struct Watch {
        TestClient *bystander;
        char *listener;
        uint16_t port;
        unsigned n_fds;
        Series visits;
        Series listens;
        unsigned listen_factor; /* how much longer a Listen may take */
} Watch;

void watch_init(Watch *w, Machine *m);
/* Neither the bystander nor the newcomer is affected. */
void watch_assert_unnoticed(Watch *w, Machine *m);
/* After the attack: the service has all descriptors back. */
void watch_done(Watch *w, Machine *m);

/* Of the service, after it has handled all earlier messages. */
unsigned attack_count_fds(Machine *m);
/* The bus never held more descriptors of the service than allowed. Only dbus-daemon has that counter. */
void attack_assert_bus_has_room(Machine *m, unsigned bus_limit);
/* In bytes, its own and not shared. */
uint64_t attack_get_memory(void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Attacker, attacker_free)
