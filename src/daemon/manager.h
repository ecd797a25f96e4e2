/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything there is: the clients, the listeners, the limits. */

#include <stdint.h>
#include <sys/types.h>

#include "daemon/credit.h"
#include "daemon/limits.h"
#include "daemon/listener.h"

typedef struct Client Client;
typedef struct ListenOptions ListenOptions;
typedef struct Manager Manager;
typedef struct Quota Quota;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

struct Manager {
        sd_event *event;
        sd_bus *bus;         /* handed on to the deliveries */
        const ListenerEvents *events;
        void *userdata;

        Limits limits;
        Budget budget;
        Quota *quota;

        Client *clients;     /* by name */
        Listener *listeners; /* by id */
        uint64_t last_id;
};

/* The limits of MANAGER_LISTEN that a call can meet, beside what listener_new() returns. */
enum {
        MANAGER_E_LISTENERS = 1,      /* limits.listeners */
        MANAGER_E_LISTENERS_PER_USER, /* limits.listeners_per_user */
};

int manager_new(sd_event *event, sd_bus *bus, const ListenerEvents *events, void *userdata, Manager **ret);

/* Closes all listeners and tells their owners. */
void manager_close_all(Manager *m);

Manager *manager_free(Manager *m);

/* NULL if there is no such thing. */
Client *manager_find_client(Manager *m, const char *name);
Listener *manager_find_listener(Manager *m, uint64_t id);

/* Finds the client or makes one that is not identified yet. */
int manager_acquire_client(Manager *m, const char *name, Client **ret);

void manager_remove_client(Manager *m, Client *client);

/* Binds a port for the client. Takes the options over on success. Nothing is accepted before the listener is
 * given to its owner. Returns 0, a positive MANAGER_E_*, or a negative errno of listener_new(). */
int manager_listen(Manager *m, Client *client, ListenOptions *options, Listener **ret);

/* To be called when a listener is closed: the manager and the owner know it no longer. */
void manager_forget_listener(Manager *m, Listener *l);
