/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a client does while something fails: each delivery, and all the other calls. */

#include <stdbool.h>

typedef struct Run Run;

typedef struct Scenario {
        const char *name;
        const char *delivery;
        bool acknowledge;
        bool is_kept;     /* there is a service manager, which keeps what the next process needs */
        bool asks;        /* the client has no privileges, so that polkit is asked */
        unsigned n_peers; /* one after the other */
        /* Gets a connection to its client, and returns whether it did. */
        bool (*deliver)(Run *run, int peer);
} Scenario;

/* The last has no name. */
extern const Scenario scenarios[];

/* It is about calls, not connections. */
bool scenario_is_calls(const Scenario *scenario);
