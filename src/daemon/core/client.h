/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One unique name on the bus that has called us: who it is, its listeners, and what is on the way to it. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/hash.h"

typedef struct Client Client;
typedef struct Listener Listener;
typedef struct Outbox Outbox;
typedef struct Traffic Traffic;

struct Client {
        char *name;
        bool identified;
        uid_t uid;        /* once it is identified */
        uint32_t n_calls; /* of its calls, how many wait for it to be identified */
        Outbox *outbox;   /* once it is identified */
        TAILQ_HEAD(, Listener) listeners;
        UT_hash_handle hh;
};

int client_new(const char *name, Client **ret);

/* Who it is, says the bus. */
int client_identify(Client *client, uid_t uid, Traffic *traffic, uint32_t window_max);

/* The client has left: its persistent listeners wait for another owner, the others are closed. */
Client *client_free(Client *client);

/* Makes it the owner, who gets nothing yet. */
void client_attach(Client *client, Listener *l);

void client_disown(Client *client, Listener *l);
