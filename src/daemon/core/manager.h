/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All clients, listeners and limits. */

#include <stdint.h>
#include <sys/types.h>

#include "daemon/listener/listener.h"
#include "daemon/outbox/traffic.h"
#include "daemon/policy/settings.h"
#include "daemon/policy/user.h"

typedef struct BusCredentials BusCredentials;
typedef struct Client Client;
typedef struct ListenOptions ListenOptions;
typedef struct Manager Manager;
typedef struct Store Store;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

typedef enum ManagerState {
        MANAGER_OPEN,
        MANAGER_FROZEN, /* the listeners are left to the next process */
        MANAGER_CLOSED, /* the service stops: Listen is refused */
} ManagerState;

struct Manager {
        sd_event *event;
        sd_bus *bus; /* for the deliveries */
        const ListenerEvents *events;
        void *userdata;

        Settings *settings;
        Limits limits; /* a copy from the settings, for the properties of the object */
        Traffic traffic;
        Users users;
        Store *store; /* NULL: nothing outlives the process */
        InterfaceWatch *interfaces;

        Client *clients;     /* by name */
        Listener *listeners; /* by id */
        uint64_t last_id;
        ManagerState state;
        bool contained; /* containment_probe() */
        bool has_name;  /* without the name, clients ignore signals of the service */
};

/* Refusals of Listen. */
enum {
        MANAGER_E_CLOSED = 1,         /* the service stops */
        MANAGER_E_LISTENERS,          /* limits.listeners */
        MANAGER_E_LISTENERS_PER_USER, /* limits.listeners_per_user */
        MANAGER_E_PORT,               /* not among the settings' ports */
        MANAGER_E_ADDRESS,            /* not among their addresses */
        MANAGER_E_DELIVERY,           /* they do not offer it */
};

/* Consumes the settings on success. Borrows the store, which may be NULL. The userdata is for both kinds of
 * events. */
int manager_new(sd_event *event,
                sd_bus *bus,
                bool contained,
                Settings *settings,
                Store *store,
                const ListenerEvents *events,
                const TrafficEvents *traffic_events,
                void *userdata,
                Manager **ret);

/* Consumes the settings. Listeners that they do not allow stay open. */
void manager_set_settings(Manager *m, Settings *settings);

/* Closes all listeners and reports this to their owners. Those in their grace period remain. */
void manager_close_all(Manager *m);

/* The same without grace periods: none remains. */
void manager_close_all_now(Manager *m);

/* Leaves all saved listeners to the next process, also those that are created later, and closes the others.
 * Sends no signal about the saved ones. May be called again. */
void manager_freeze_all(Manager *m);

Manager *manager_free(Manager *m);

/* Return NULL if there is none. */
Client *manager_find_client(Manager *m, const char *name);
Listener *manager_find_listener(Manager *m, uint64_t id);

/* Finds the client, or adds one that is not identified yet. */
int manager_acquire_client(Manager *m, const char *name, Client **ret);
int manager_identify_client(Manager *m, Client *client, const BusCredentials *credentials);

void manager_remove_client(Manager *m, Client *client);

/* Returns 0 if the settings allow the port, address and delivery, or MANAGER_E_*. */
int manager_check_settings(const Manager *m, const ListenOptions *options);

/* Binds a port for the client. Takes the options over on success. Nothing is accepted before the listener is
 * given to its owner. Returns 0, a positive MANAGER_E_*, or a negative errno of listener_new(). */
int manager_listen(Manager *m, Client *client, ListenOptions *options, Listener **ret);

/* Finds the listener that Listen with the option adopt makes the client's: a persistent one of its user,
 * without an owner, at this address and port, and not for another interface. Returns NULL if there is none.
 */
Listener *manager_find_adoptable(Manager *m, uid_t uid, const ListenOptions *options);

/* Gives a listener to its owner, at once or as soon as the service has its name. Call it after the
 * reply to Listen. May close the listener. */
void manager_own(Manager *m, Client *client, Listener *l);

/* Opens the channel of a listener: a descriptor, -EDQUOT if its user has too many, -ENOSPC if there are too
 * many in all, or what listener_open_channel() returns. */
int manager_open_channel(Manager *m, Listener *l);

/* The descriptor of OpenChannel or TakeSocket did not reach its client, which may call once more. */
void manager_take_back(Listener *l);

/* Removes a listener from the manager and from its owner. Call it when the listener is closed. */
void manager_forget_listener(Manager *m, Listener *l);
