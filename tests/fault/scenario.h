/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The actions of a client while a call fails: each delivery, and all other methods. */

#include <stdbool.h>

typedef struct Run Run;

typedef struct Scenario {
        const char *name;
        const char *delivery;
        bool acknowledge;
        unsigned batch;   /* connections in a packet of the channel; 0: the default */
        bool has_keeper;  /* with a service manager that has an fd store */
        bool asks;        /* the client is not privileged, and its listener persistent */
        unsigned n_peers; /* connections, one after the other */
        /* Receives the connection of the peer, and returns whether it was delivered. */
        bool (*deliver)(Run *run, int peer);
} Scenario;

/* The last has no name. */
extern const Scenario scenarios[];

/* Whether the scenario is about calls and not about connections. */
bool scenario_is_calls(const Scenario *scenario);
