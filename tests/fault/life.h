/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client from Listen to Close, while the service is killed and restarted: it repeats calls without a reply.
 */

#include "bus/client.h"
#include "bus/keeper.h"
#include "bus/service.h"
#include "fault/control.h"

typedef struct Life Life;

typedef struct Way {
        const char *name;
        const char *delivery;
        bool acknowledge;
        bool persistent;
        /* Receives a connection and returns it, or -1 if it was lost. */
        int (*take)(Life *life, int peer);
        bool closed_by_other; /* another client calls Close, and faults only happen from then on */
        unsigned batch; /* instead of 'take': so many peers connect at once, and a packet of the channel has
                           up to so many connections */
} Way;

struct Life {
        const Way *way;
        TestBus *bus;
        Keeper *keeper;
        TestService *service;
        FaultLibrary library;
        FaultControl *control; /* of the library */
        uint16_t port;

        TestClient *client;
        char *listener;
        int handle; /* the channel, or the socket */
        int lifeline;

        bool revived;
        unsigned n_lost;
        unsigned n_together; /* connections in the largest packet */
        unsigned n_kills;
};

/* The last has no name. */
extern const Way ways[];

/* Starts a bus, a service manager and a service, without a client. */
void life_init(Life *life, const Way *way);
void life_done(Life *life);

/* Runs a client from Listen to Close with this fault. Afterwards, the store must be empty. */
void life_live(Life *life, FaultMode mode, uint32_t ordinal);

/* Whether the socket is the other end of the peer, and not of an earlier connection. */
bool peer_belongs_to(int peer, int socket);
