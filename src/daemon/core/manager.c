/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "base/socket.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener-control.h"
#include "daemon/listener/listener-save.h"
#include "daemon/outbox/outbox.h"
#include "daemon/policy/options.h"
#include "daemon/policy/settings.h"
#include "daemon/store/store.h"

DEFINE_CLEANUP(Manager, manager_free)

int manager_new(sd_event *event,
                sd_bus *bus,
                bool contained,
                Settings *settings,
                Store *store,
                const ListenerEvents *events,
                const TrafficEvents *traffic_events,
                void *userdata,
                Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        m = calloc(1, sizeof(*m));
        if (!m)
                return -ENOMEM;

        m->event = sd_event_ref(event);
        m->bus = sd_bus_ref(bus);
        m->contained = contained;
        m->events = events;
        m->userdata = userdata;
        m->store = store;
        r = traffic_init(&m->traffic, bus, store, &m->users, settings->limits.unacknowledged, traffic_events,
                         userdata);
        if (r < 0)
                return r;

        r = interface_watch_new(event, &m->interfaces);
        if (r < 0)
                return r;

        manager_set_settings(m, settings);
        *ret = TAKE_PTR(m);
        return 0;
}

void manager_set_settings(Manager *m, Settings *settings) {
        (void) settings_free(m->settings);
        m->settings = settings;
        m->limits = settings->limits;

        for (Client *client = m->clients; client; client = client->hh.next)
                if (client->outbox)
                        outbox_set_max(client->outbox, m->limits.unacknowledged_per_client);
        budget_set_limit(&m->traffic.budget, m->limits.unacknowledged);
}

void manager_close_all(Manager *m) {
        Listener *l, *next;

        m->state = MANAGER_CLOSED;
        HASH_ITER(hh, m->listeners, l, next)
        listener_close(l, LISTENER_END_SHUTDOWN);
}

void manager_close_all_now(Manager *m) {
        while (m->listeners)
                listener_close_now(m->listeners, LISTENER_END_SHUTDOWN);
}

void manager_freeze_all(Manager *m) {
        Listener *l, *next;

        m->state = MANAGER_FROZEN;
        HASH_ITER(hh, m->listeners, l, next) {
                if (listener_is_saved(l))
                        listener_freeze(l);
                else
                        listener_close_now(l, LISTENER_END_SHUTDOWN);
        }
}

Manager *manager_free(Manager *m) {
        Listener *l, *next_listener;
        Client *client, *next_client;

        if (!m)
                return NULL;

        HASH_ITER(hh, m->listeners, l, next_listener) {
                manager_forget_listener(m, l);
                (void) listener_free(l);
        }
        HASH_ITER(hh, m->clients, client, next_client)
        manager_remove_client(m, client);

        m->interfaces = interface_watch_free(m->interfaces);
        traffic_done(&m->traffic);
        users_done(&m->users);
        m->settings = settings_free(m->settings);
        sd_bus_unref(m->bus);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}

Client *manager_find_client(Manager *m, const char *name) {
        Client *client;

        HASH_FIND_STR(m->clients, name, client);
        return client;
}

Listener *manager_find_listener(Manager *m, uint64_t id) {
        Listener *l;

        HASH_FIND(hh, m->listeners, &id, sizeof(id), l);
        return l;
}

int manager_acquire_client(Manager *m, const char *name, Client **ret) {
        Client *client;
        int r;

        client = manager_find_client(m, name);
        if (!client) {
                r = client_new(name, &client);
                if (r < 0)
                        return r;
                HASH_ADD_KEYPTR(hh, m->clients, client->name, strlen(client->name), client);
                if (!hash_was_added(&client->hh)) {
                        (void) client_free(client);
                        return -ENOMEM;
                }
        }

        *ret = client;
        return 0;
}

int manager_identify_client(Manager *m, Client *client, const BusCredentials *credentials) {
        return client_identify(client, credentials, &m->traffic, m->limits.unacknowledged_per_client);
}

void manager_remove_client(Manager *m, Client *client) {
        HASH_DEL(m->clients, client);
        (void) client_free(client);
}

int manager_check_settings(const Manager *m, const ListenOptions *options) {
        if (!settings_allow_port(m->settings, (uint16_t) options->port))
                return MANAGER_E_PORT;

        if (!settings_allow_address(m->settings, &options->address, options->ipv6_only))
                return MANAGER_E_ADDRESS;

        if (!m->settings->allow_socket_delivery && !delivery_kind_accepts(options->delivery))
                return MANAGER_E_DELIVERY;

        return 0;
}

int manager_listen(Manager *m, Client *client, ListenOptions *options, Listener **ret) {
        UserCharge charge = {};
        Listener *l;
        int r;

        if (m->state == MANAGER_CLOSED)
                return MANAGER_E_CLOSED;

        r = manager_check_settings(m, options);
        if (r != 0)
                return r;

        r = user_charge_shared(&m->users, client->uid, USER_LISTENERS, m->limits.listeners,
                               m->limits.listeners_per_user, &charge);
        if (r == -ENOSPC)
                return MANAGER_E_LISTENERS;
        if (r == -EDQUOT)
                return MANAGER_E_LISTENERS_PER_USER;
        if (r < 0)
                return r;

        /* Before the listener exists, so that after a crash the next process does not use its number again.
         */
        if (m->store)
                store_set_last_id(m->store, m->last_id + 1);

        r = listener_new(m->event, m->last_id + 1, client->uid, client->pid, options, m->store, m->interfaces,
                         m->events, m->userdata, &l);
        if (r < 0) {
                user_discharge(&charge);
                return r;
        }

        l->charge = charge;

        /* Before the reply, so that the next process knows the owner. */
        listener_save_owner(l, client->name);

        /* The kernel may have chosen the port from a range that has changed since the settings were loaded.
         */
        if (!settings_allow_port(m->settings, address_get_port(&l->address))) {
                l->options = NULL; /* still the caller's */
                (void) listener_free(l);
                return MANAGER_E_PORT;
        }

        HASH_ADD(hh, m->listeners, id, sizeof(l->id), l);
        if (!hash_was_added(&l->hh)) {
                l->options = NULL; /* still the caller's */
                (void) listener_free(l);
                return -ENOMEM;
        }

        m->last_id = l->id;
        if (m->state == MANAGER_FROZEN)
                listener_freeze(l);

        *ret = l;
        return 0;
}

/* Whether the listener is at the address of the options. The default address is 0.0.0.0 without IPv6. */
static bool listener_is_at(const Listener *l, const ListenOptions *o) {
        Address any = address_any(AF_INET);

        if (address_equals(&l->address, &o->address))
                return true;

        address_set_port(&any, address_get_port(&o->address));
        return !o->address_given && address_equals(&l->address, &any) && !socket_has_ipv6();
}

/* Two listeners can have the same address and port if each is for another interface. */
static bool interfaces_overlap(const char *a, const char *b) {
        return !a || !b || streq(a, b);
}

Listener *manager_find_adoptable(Manager *m, uid_t uid, const ListenOptions *o) {
        if (!o->adopt || !o->persistent || o->port == 0)
                return NULL;

        for (Listener *l = m->listeners; l; l = l->hh.next)
                if (l->state == LISTENER_OPEN && l->options->persistent && !l->owner && l->uid == uid &&
                    listener_is_at(l, o) && interfaces_overlap(l->options->interface, o->interface))
                        return l;
        return NULL;
}

void manager_own(Manager *m, Client *client, Listener *l) {
        client_attach(client, l);
        if (m->has_name)
                listener_set_owner(l, client->outbox);
        else
                listener_set_announced(l);
}

int manager_open_channel(Manager *m, Listener *l) {
        int fd, r;

        fd = listener_open_channel(l);
        if (fd < 0)
                return fd;

        r = user_charge_shared(&m->users, l->uid, USER_CHANNELS, m->limits.channels,
                               m->limits.channels_per_user, &l->channel_charge);
        if (r < 0) {
                l->delivery->ops->take_back(l->delivery);
                (void) close_fd(fd);
                return r;
        }

        return fd;
}

void manager_take_back(Listener *l) {
        l->delivery->ops->take_back(l->delivery);
        user_discharge(&l->channel_charge);
}

void manager_forget_listener(Manager *m, Listener *l) {
        if (l->owner)
                client_disown(l->owner, l);
        /* The analyzer assumes an empty table, but the table contains the listener. */
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        HASH_DEL(m->listeners, l);
}
