/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client's life while the process that serves it dies: what was not answered is repeated, and the next
 * process goes on. */

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
        /* Takes a connection and returns it, or -1 when the peer has lost it. */
        int (*take)(Life *life, int peer);
} Way;

struct Life {
        const Way *way;
        TestBus *bus;
        Keeper *keeper;
        TestService *service;
        FaultLibrary library;
        FaultControl *control; /* the library's */
        uint16_t port;

        TestClient *client;
        char *listener;
        int handle; /* the channel, or the socket */

        bool revived;
        unsigned n_lost;
        unsigned n_kills;
};

/* The last has no name. */
extern const Way ways[];

/* A bus, and a service that can be killed and is kept for. No client yet. */
void life_init(Life *life, const Way *way);
void life_done(Life *life);

/* From one Listen to its Close, with that fault. Whoever dies, at the end nothing is left. */
void life_live(Life *life, FaultMode mode, uint32_t ordinal);

/* These two are one connection, and not a copy of an earlier one. */
bool peer_belongs_to(int peer, int socket);
