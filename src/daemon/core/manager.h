/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Everything there is: the clients, the listeners, the limits. */

#include <stdint.h>
#include <sys/types.h>

#include "daemon/listener/listener.h"
#include "daemon/outbox/traffic.h"
#include "daemon/policy/settings.h"
#include "daemon/policy/user.h"

typedef struct Client Client;
typedef struct ListenOptions ListenOptions;
typedef struct Manager Manager;
typedef struct Store Store;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

struct Manager {
        sd_event *event;
        sd_bus *bus; /* handed on to the deliveries */
        const ListenerEvents *events;
        void *userdata;

        Settings *settings;
        Limits limits; /* of the settings, where the properties of the object find them */
        Traffic traffic;
        Users users;
        Store *store; /* NULL: nothing outlives the process */

        Client *clients;     /* by name */
        Listener *listeners; /* by id */
        uint64_t last_id;
        bool frozen;   /* another process goes on with them */
        bool has_name; /* without it nobody would know that it is us who sends something */
};

/* What the settings have against a call of Listen. */
enum {
        MANAGER_E_LISTENERS = 1,      /* limits.listeners */
        MANAGER_E_LISTENERS_PER_USER, /* limits.listeners_per_user */
        MANAGER_E_PORT,               /* not among the settings' ports */
        MANAGER_E_ADDRESS,            /* not among their addresses */
        MANAGER_E_DELIVERY,           /* they do not offer it */
};

/* Takes the settings over on success, but not the store, which may be NULL. The userdata is for the events of
 * both. */
int manager_new(sd_event *event,
                sd_bus *bus,
                Settings *settings,
                Store *store,
                const ListenerEvents *events,
                const TrafficEvents *traffic_events,
                void *userdata,
                Manager **ret);

/* Takes them over. What was bound under the old ones stays. */
void manager_set_settings(Manager *m, Settings *settings);

/* Closes all listeners and tells their owners. */
void manager_close_all(Manager *m);

/* Leaves all listeners to the next process, and tells nobody; those too that are made from now on. What that
 * process would know nothing of is closed. May be called again. */
void manager_freeze_all(Manager *m);

Manager *manager_free(Manager *m);

/* NULL if there is no such thing. */
Client *manager_find_client(Manager *m, const char *name);
Listener *manager_find_listener(Manager *m, uint64_t id);

/* Finds the client or makes one that is not identified yet. */
int manager_acquire_client(Manager *m, const char *name, Client **ret);
int manager_identify_client(Manager *m, Client *client, uid_t uid);

void manager_remove_client(Manager *m, Client *client);

/* Whether the settings allow anybody to listen there: 0 or MANAGER_E_*. */
int manager_check_settings(const Manager *m, const ListenOptions *options);

/* Binds a port for the client. Takes the options over on success. Nothing is accepted before the listener is
 * given to its owner. Returns 0, a positive MANAGER_E_*, or a negative errno of listener_new(). */
int manager_listen(Manager *m, Client *client, ListenOptions *options, Listener **ret);

/* Gives a listener to its owner, at once or as soon as we have the name; its call has been answered. May
 * close it. */
void manager_own(Manager *m, Client *client, Listener *l);

/* Opens the channel of a listener: a descriptor, -EDQUOT if its user has too many, -ENOSPC if there are too
 * many in all, or what listener_open_channel() returns. */
int manager_open_channel(Manager *m, Listener *l);

/* The descriptor of OpenChannel or TakeSocket did not reach its client, who may call once more. */
void manager_take_back(Listener *l);

/* To be called when a listener is closed: the manager and the owner know it no longer. */
void manager_forget_listener(Manager *m, Listener *l);
