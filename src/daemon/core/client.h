/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A bus connection that has called the service: its user, its listeners and its outbox. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/hash.h"

typedef struct BusCredentials BusCredentials;
typedef struct Client Client;
typedef struct Listener Listener;
typedef struct Outbox Outbox;
typedef struct Traffic Traffic;

struct Client {
        char *name;
        bool identified;
        uid_t uid;    /* valid if identified */
        uint32_t pid; /* of the process that connected to the bus; 0: unknown */
        char *unit;   /* of that process, for the log; NULL: not asked for, or unknown */
        bool unit_asked;
        uint32_t n_calls; /* calls that wait until it is identified */
        Outbox *outbox;   /* valid if identified */
        TAILQ_HEAD(, Listener) listeners;
        UT_hash_handle hh;
};

int client_new(const char *name, Client **ret);

/* Sets the credentials that the bus has reported. */
int client_identify(Client *client,
                    const BusCredentials *credentials,
                    Traffic *traffic,
                    uint32_t descriptors_max);

/* Closes its listeners, but persistent ones, which then have no owner. */
Client *client_free(Client *client);

/* Makes it the owner. Nothing is sent before listener_set_owner(). */
void client_attach(Client *client, Listener *l);

void client_disown(Client *client, Listener *l);
