/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "relay" with a target that is the test itself. */

#include "ctl/serving.h"

/* The target: a socket of the test's own. */
typedef struct Target {
        int fd;
        char *name; /* for the command line */
} Target;

typedef struct Relayed {
        Tool *tool;
        Target target;
        uint16_t port;
} Relayed;

Target target_new(void);
Target target_new_unix(bool abstract, int backlog);
int target_accept(const Target *t);

/* Consumes the target. option may be NULL. */
Relayed relay_start(Fixture *f, Target target, const char *option);
/* endpoint: the address and the port of the relay. */
Relayed relay_start_at(Fixture *f, const char *endpoint, Target target, const char *option);
/* By SIGTERM. */
void relay_end(Relayed *r);
/* Waits for its end, which must have this status, and frees it. */
void relay_wait(Relayed *r, int status);

/* Sends as much as there is room for; non-blocking from then on. */
size_t peer_fill(int fd);
