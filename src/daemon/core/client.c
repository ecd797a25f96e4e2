/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "daemon/core/client.h"
#include "daemon/listener/listener-control.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/outbox.h"
#include "daemon/policy/options.h"

DEFINE_CLEANUP(Client, client_free)

int client_new(const char *name, Client **ret) {
        _cleanup_(client_freep) Client *client = NULL;

        client = calloc(1, sizeof(*client));
        if (!client)
                return -ENOMEM;

        TAILQ_INIT(&client->listeners);

        client->name = strdup(name);
        if (!client->name)
                return -ENOMEM;

        *ret = TAKE_PTR(client);
        return 0;
}

int client_identify(Client *client,
                    const BusCredentials *credentials,
                    Traffic *traffic,
                    uint32_t descriptors_max) {
        int r;

        if (client->identified)
                return 0;

        r = outbox_new(traffic, client->name, credentials->uid, descriptors_max, &client->outbox);
        if (r < 0)
                return r;

        client->uid = credentials->uid;
        client->pid = credentials->pid;
        client->identified = true;
        return 0;
}

Client *client_free(Client *client) {
        Listener *l;

        if (!client)
                return NULL;

        while ((l = TAILQ_FIRST(&client->listeners))) {
                client_disown(client, l);

                if (l->options->persistent && l->state == LISTENER_OPEN)
                        listener_set_owner(l, NULL);
                else {
                        l->owner_name = client->name; /* for the log message */
                        listener_end_with_owner(l);
                }
        }

        client->outbox = outbox_free(client->outbox);
        free(client->name);
        free(client->unit);
        free(client);
        return NULL;
}

void client_attach(Client *client, Listener *l) {
        assert(!l->owner);

        l->owner = client;
        l->owner_name = client->name;
        TAILQ_INSERT_TAIL(&client->listeners, l, owner_link);
}

void client_disown(Client *client, Listener *l) {
        assert(l->owner == client);

        TAILQ_REMOVE(&client->listeners, l, owner_link);
        l->owner = NULL;
        l->owner_name = NULL;
}
