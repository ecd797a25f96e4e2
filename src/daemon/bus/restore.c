/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus/restore.h"
#include "daemon/core/client.h"
#include "daemon/core/manager-restore.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/store/store.h"

/* A question to the bus about an owner. */
typedef struct Question {
        Restore *restore;
        char *name;
        sd_bus_slot *slot;
        TAILQ_ENTRY(Question) link;
} Question;

struct Restore {
        sd_bus *bus;
        Manager *manager;
        RestoreDone done;
        void *userdata;
        sd_bus_slot *bus_id;
        TAILQ_HEAD(, Question) questions;
};

static Question *question_free(Question *question) {
        TAILQ_REMOVE(&question->restore->questions, question, link);
        sd_bus_slot_unref(question->slot);
        free(question->name);
        free(question);
        return NULL;
}

static void restore_check_done(Restore *restore) {
        if (TAILQ_EMPTY(&restore->questions))
                restore->done(0, restore->userdata);
}

/* Returns whether the owner is on the bus, and its credentials. Any error but NameHasNoOwner is reported,
 * because the owner would lose its listeners if it were taken for gone. */
static int owner_is_there(sd_bus_message *answer, const Client *client, BusCredentials *ret) {
        Listener *l;
        int r;

        if (!bus_driver_is_sender(answer))
                return -EIO;
        if (sd_bus_message_is_method_error(answer, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return false;

        r = bus_driver_read_credentials(answer, ret);
        if (r < 0)
                return r;

        TAILQ_FOREACH(l, &client->listeners, owner_link)
                if (l->uid != ret->uid)
                        return false;

        /* All its listeners may be closed by now. */
        return !TAILQ_EMPTY(&client->listeners);
}

static int on_owner(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        Question *question = userdata;
        Restore *restore = question->restore;
        BusCredentials credentials;
        Client *client;
        int r = 0;

        /* NULL: it has left in the meantime. */
        client = manager_find_client(restore->manager, question->name);
        if (client)
                r = owner_is_there(answer, client, &credentials);
        if (client && r == 0) {
                log_debug("%s has left the bus", question->name);
                manager_remove_client(restore->manager, client);
        }
        if (r > 0)
                r = manager_identify_client(restore->manager, client, &credentials);
        if (r < 0) {
                /* systemd starts the service again, which retries. */
                log_error("Failed to find out whether %s is still on the bus: %s", question->name,
                          strerror(-r));
                restore->done(r, restore->userdata);
                return 0;
        }

        (void) question_free(question);
        restore_check_done(restore);
        return 0;
}

static int restore_ask(Restore *restore, const char *name) {
        Question *question;

        question = calloc(1, sizeof(*question));
        if (!question)
                return -ENOMEM;

        question->restore = restore;
        TAILQ_INSERT_TAIL(&restore->questions, question, link);

        question->name = strdup(name);
        if (!question->name)
                return -ENOMEM;

        return bus_driver_ask_credentials(restore->bus, &question->slot, name, on_owner, question);
}

static int restore_owners(Restore *restore) {
        int r;

        for (Client *client = restore->manager->clients; client; client = client->hh.next) {
                r = restore_ask(restore, client->name);
                if (r < 0)
                        return r;
        }

        restore_check_done(restore);
        return 0;
}

static int restore_from(Restore *restore, const char *bus_id) {
        Store *store = restore->manager->store;
        int r;

        r = manager_restore(restore->manager, streq(store_get_bus(store), bus_id));
        if (r < 0) {
                log_error("Failed to restore the listeners: %s", strerror(-r));
                return r;
        }

        store_set_bus(store, bus_id);
        return restore_owners(restore);
}

static int on_bus_id(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        Restore *restore = userdata;
        const char *id;
        int r;

        restore->bus_id = sd_bus_slot_unref(restore->bus_id);

        r = sd_bus_message_is_method_error(answer, NULL) || !bus_driver_is_sender(answer)
                            ? -EIO
                            : sd_bus_message_read_basic(answer, 's', &id);
        if (r >= 0)
                r = restore_from(restore, id);
        if (r < 0)
                restore->done(r, restore->userdata);
        return 0;
}

int restore_start(sd_bus *bus, Manager *manager, RestoreDone done, void *userdata, Restore **ret) {
        Restore *restore;
        int r;

        restore = calloc(1, sizeof(*restore));
        if (!restore)
                return -ENOMEM;

        restore->bus = bus;
        restore->manager = manager;
        restore->done = done;
        restore->userdata = userdata;
        TAILQ_INIT(&restore->questions);

        /* A new bus has another ID, and may give the unique name of an owner to another client. */
        r = bus_driver_call(bus, &restore->bus_id, "org.freedesktop.DBus", "GetId", NULL, on_bus_id, restore);
        if (r < 0) {
                free(restore);
                return r;
        }

        *ret = restore;
        return 0;
}

Restore *restore_free(Restore *restore) {
        Question *question;

        if (!restore)
                return NULL;

        while ((question = TAILQ_FIRST(&restore->questions)))
                (void) question_free(question);
        sd_bus_slot_unref(restore->bus_id);
        free(restore);
        return NULL;
}
