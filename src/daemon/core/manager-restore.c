/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/descriptors.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "base/socket.h"
#include "daemon/core/client.h"
#include "daemon/core/manager-restore.h"
#include "daemon/core/manager.h"
#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener-control.h"
#include "daemon/listener/listener-save.h"
#include "daemon/policy/containment.h"
#include "daemon/policy/options.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"

/* A limit that is lower now does not close what the last process has granted. */
#define NO_LIMIT UINT64_MAX

static int restore_owner(Manager *m, Listener *l, const char *name) {
        Client *client;
        int r;

        r = manager_acquire_client(m, name, &client);
        if (r < 0)
                return r;

        client_attach(client, l);
        return 0;
}

static int restore_listener(Manager *m, StoreFound *found) {
        UserCharge charge = {};
        Listener *l;
        int r;

        r = user_charge(&m->users, found->uid, USER_LISTENERS, 1, NO_LIMIT, &charge);
        if (r < 0)
                return r;

        r = listener_restore(m->event, found, m->store, m->interfaces, m->events, m->userdata, &l);
        if (r < 0) {
                user_discharge(&charge);
                return r;
        }

        l->charge = charge;
        if (l->id > m->last_id)
                m->last_id = l->id;

        HASH_ADD(hh, m->listeners, id, sizeof(l->id), l);
        if (!hash_was_added(&l->hh)) {
                store_seal(m->store);
                (void) listener_free(l);
                return -ENOMEM;
        }

        return found->state.owner[0] == '\0' ? 0 : restore_owner(m, l, found->state.owner);
}

static int restore_channel(Manager *m, StoreFound *found) {
        UserCharge charge = {};
        Listener *l;
        int r;

        l = manager_find_listener(m, found->id);
        if (!l)
                return 0;

        /* The process died before it sent the other end. OpenChannel can be called again. */
        if (l->accepted == 0 && socket_has_hung_up(found->fd))
                return 0;

        r = user_charge(&m->users, l->uid, USER_CHANNELS, 1, NO_LIMIT, &charge);
        if (r < 0)
                return r;

        r = delivery_channel_restore(l->delivery, found, l->slot);
        if (r < 0) {
                user_discharge(&charge);
                return r;
        }

        l->channel_charge = charge;
        return 0;
}

static int restore_connection(Manager *m, StoreFound *found) {
        Listener *l;
        int r;

        l = manager_find_listener(m, found->id);
        if (!l)
                return 0;

        r = listener_restore_connection(l, found);
        if (r < 0)
                l->lost++;
        return r;
}

static int restore_lifeline(Manager *m, StoreFound *found) {
        Listener *l;

        l = manager_find_listener(m, found->id);
        return l ? lifeline_restore(&l->lifeline, found) : 0;
}

static int restore(Manager *m, StoreFound *found) {
        switch (found->type) {

        case STATE_LISTENER:
                return restore_listener(m, found);

        case STATE_CHANNEL:
                return restore_channel(m, found);

        case STATE_LIFELINE:
                return restore_lifeline(m, found);

        default:
                return restore_connection(m, found);
        }
}

/* A contained service can have listeners of a former process that was not. They never get a guard. If the
 * configuration requires one, they are therefore closed, except root's. */
static void check_containment(const Manager *m, Listener *l) {
        LogFields fields;

        if (l->fd < 0 || containment_covers(l->fd))
                return;

        l->not_contained = m->settings->require_containment && l->uid != 0;
        if (l->not_contained || !m->contained)
                return;

        fields = listener_log_fields(l);
        log_event(LOG_WARNING, MESSAGE_NOT_CONTAINED_STR, &fields,
                  "%s of user %u was created without a guard and is not contained until it is created again",
                  l->path, (unsigned) l->uid);
}

/* A client that has left the bus with the reply of Listen does not get Closed. */
static void log_unannounced(const Listener *l) {
        char address[ADDRESS_STRING_MAX];
        LogFields fields = listener_log_all_fields(l, address);

        log_event(LOG_WARNING, MESSAGE_LISTENER_FAILED_STR, &fields,
                  "Closing %s of user %u, port %u on %s: the service was killed while it answered Listen",
                  l->path, (unsigned) l->uid, fields.port, address);
}

int manager_restore(Manager *m, bool same_bus) {
        StoreFound *found;
        Listener *l, *next;
        size_t n;
        int r;

        r = store_read(m->store, &found, &n);
        if (r < 0)
                return r;

        m->last_id = store_get_last_id(m->store);

        for (size_t i = 0; i < n; i++) {
                if (!same_bus)
                        found[i].state.owner[0] = '\0';

                r = restore(m, found + i);
                if (errno_is_transient(r)) {
                        /* systemd starts the service again, which retries. */
                        store_seal(m->store);
                        store_found_free(found, n);
                        return r;
                }
                if (r < 0)
                        log_error("Failed to restore a %s of listener %llu: %s",
                                  found[i].type == STATE_LISTENER   ? "socket"
                                  : found[i].type == STATE_CHANNEL  ? "channel"
                                  : found[i].type == STATE_LIFELINE ? "lifeline"
                                                                    : "connection",
                                  (unsigned long long) found[i].id, strerror(-r));
        }

        HASH_ITER(hh, m->listeners, l, next) {
                check_containment(m, l);
                listener_restore_counters(l);
                if (l->state == LISTENER_UNANNOUNCED)
                        log_unannounced(l);

                /* The process died before or while it answered Listen. The port must be free when the client
                 * calls again; a client that has the answer gets Closed once the service has its name. */
                if (l->state == LISTENER_UNANNOUNCED && l->owner)
                        listener_free_port(l);
                else if (!l->owner) {
                        if (!l->options->persistent || l->state != LISTENER_OPEN)
                                listener_end_with_owner(l);
                        else
                                listener_set_owner(l, NULL);
                }
        }

        log_debug("Restored %u listeners from %zu entries of the store", HASH_COUNT(m->listeners), n);
        store_found_free(found, n);
        store_set_last_id(m->store, m->last_id);
        return 0;
}

static Listener *find_waiting(Client *client, Listener *after) {
        return after ? TAILQ_NEXT(after, owner_link) : TAILQ_FIRST(&client->listeners);
}

void manager_restore_owners(Manager *m) {
        for (Client *client = m->clients; client; client = client->hh.next) {
                Listener *l = find_waiting(client, NULL), *next;

                for (; l && client->identified; l = next) {
                        next = find_waiting(client, l);
                        if (l->state == LISTENER_UNANNOUNCED)
                                listener_close(l, LISTENER_END_ERROR);
                        else if (l->state == LISTENER_CLOSING)
                                listener_resume_closing(l);
                        else
                                listener_set_owner(l, client->outbox);
                }
        }

        interface_watch_start(m->interfaces);
}
