/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One unique name on the bus that has called us: who it is, its listeners, and what is on the way to it. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/hash.h"

typedef struct Budget Budget;
typedef struct Client Client;
typedef struct Listener Listener;
typedef struct Outbox Outbox;
typedef struct sd_bus sd_bus;

struct Client {
        char *name;
        bool identified;
        uid_t uid;         /* once it is identified */
        uint32_t n_calls;  /* of its calls, how many wait for it to be identified */
        Outbox *outbox;
        TAILQ_HEAD(, Listener) listeners;
        UT_hash_handle hh;
};

int client_new(sd_bus *bus, const char *name, Budget *budget, uint32_t window, Client **ret);

/* The client has left: its persistent listeners wait for another owner, the others are closed. */
Client *client_free(Client *client);

/* Makes it the owner, who gets the connections from now on. May close the listener, if its socket is broken. */
void client_own(Client *client, Listener *l);

void client_disown(Client *client, Listener *l);
