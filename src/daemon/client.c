/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "daemon/client.h"
#include "daemon/delivery-outbox.h"
#include "daemon/listener.h"
#include "daemon/options.h"

DEFINE_CLEANUP(Client, client_free)

int client_new(sd_bus *bus, const char *name, Budget *budget, uint32_t window, Client **ret) {
        _cleanup_(client_freep) Client *client = NULL;
        int r;

        client = calloc(1, sizeof(*client));
        if (!client)
                return -ENOMEM;

        TAILQ_INIT(&client->listeners);

        client->name = strdup(name);
        if (!client->name)
                return -ENOMEM;

        r = outbox_new(bus, name, budget, window, &client->outbox);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(client);
        return 0;
}

Client *client_free(Client *client) {
        Listener *l;

        if (!client)
                return NULL;

        while ((l = TAILQ_FIRST(&client->listeners))) {
                client_disown(client, l);
                listener_set_outbox(l, NULL);

                if (!l->options->persistent)
                        listener_close(l, LISTENER_END_OWNER);
        }

        client->outbox = outbox_free(client->outbox);
        free(client->name);
        free(client);
        return NULL;
}

void client_own(Client *client, Listener *l) {
        l->owner = client;
        l->owner_name = client->name;
        TAILQ_INSERT_TAIL(&client->listeners, l, owner_link);
        listener_set_outbox(l, client->outbox);
}

void client_disown(Client *client, Listener *l) {
        TAILQ_REMOVE(&client->listeners, l, owner_link);
        l->owner = NULL;
        l->owner_name = NULL;
}
