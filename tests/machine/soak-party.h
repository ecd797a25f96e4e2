/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One listener of the soak test, its client and its peers. A peer waits for the number of its connection,
 * which the client writes as soon as it has taken it. So the peers, the client and the service know the
 * fate of each connection, and must agree. */

#include "machine/attack.h"

#define PARTY_PEERS 6U

typedef struct PartyKind {
        const char *name;
        const char *delivery;
        bool acknowledge;
        bool persistent;
        const char *address; /* NULL: all addresses */
} PartyKind;

typedef struct Party Party;

typedef struct PartyPeer {
        Party *party;
        int fd; /* of one that is there */
        uint64_t start;
        sd_event_source *source;
} PartyPeer;

struct Party {
        Machine *m;
        const PartyKind *kind;
        uid_t uid;

        TestClient *client;
        char *listener;
        uint16_t port;
        int fd; /* the channel, or the socket */
        sd_event_source *source;
        sd_event_source *defer;
        TestCall *call;
        bool stalled;

        PartyPeer peers[PARTY_PEERS];
        unsigned n_slots, n_peers;
        bool holds;     /* no new peers */
        bool leaving;   /* connections that end now are abandoned */
        bool succeeded; /* another client, since all had agreed the last time */
        bool settles;   /* takes the rest */

        /* Since the listener is there. */
        uint64_t connected, served, handed;
        uint64_t abandoned; /* by clients that died */
        uint64_t lost;      /* by the service */
        /* The numbers since all had agreed the last time. */
        GHashTable *served_now, *handed_now;

        /* Of listeners that are gone, too. */
        uint64_t all_connected, all_served, all_abandoned, all_lost;
        uint64_t again; /* handed over a second time */
        uint64_t deaths;
        uint64_t longest; /* that a peer has waited, in µs */
};

Party *party_new(Machine *m, const PartyKind *kind, uid_t uid, unsigned n_peers);
void party_free(Party *p);

void party_go(Party *p);
void party_stall(Party *p);
void party_resume(Party *p);
/* The client dies, and another one takes its place. Connections that it has not read end with it. */
void party_die(Party *p);
/* The same for a client without unread connections, when a known number of others have not reached it yet. */
void party_die_stalled(Party *p);

/* No new peers connect; and until all are served. */
void party_hold(Party *p);
void party_settle(Party *p);
