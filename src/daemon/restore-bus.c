/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/client.h"
#include "daemon/manager.h"
#include "daemon/restore-bus.h"
#include "daemon/restore.h"
#include "daemon/store.h"

/* An owner whom the bus was asked about. */
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

/* The bus itself answers; if there is no such name any more, with an error. */
static bool owner_is_there(sd_bus_message *answer, const Client *client) {
        const char *sender = sd_bus_message_get_sender(answer);
        Listener *l;
        uint32_t uid;

        if (sd_bus_message_is_method_error(answer, NULL) || !sender ||
            !streq(sender, "org.freedesktop.DBus") || sd_bus_message_read_basic(answer, 'u', &uid) < 0)
                return false;

        TAILQ_FOREACH(l, &client->listeners, owner_link)
                if (l->uid != uid)
                        return false;

        /* What it had may have ended by itself already. */
        return !TAILQ_EMPTY(&client->listeners);
}

static int on_owner(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        Question *question = userdata;
        Restore *restore = question->restore;
        Client *client;
        int r;

        /* NULL: it has left meanwhile, and its listeners are closed. */
        client = manager_find_client(restore->manager, question->name);
        r = -ENXIO;
        if (client && owner_is_there(answer, client))
                r = manager_identify_client(restore->manager, client, TAILQ_FIRST(&client->listeners)->uid);
        if (client && r < 0) {
                log_debug("%s is not there any more: %s", question->name, strerror(-r));
                manager_remove_client(restore->manager, client);
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

        return sd_bus_call_method_async(restore->bus, &question->slot, "org.freedesktop.DBus",
                                        "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                        "GetConnectionUnixUser", on_owner, question, "s", name);
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
                log_error("Cannot read what was kept: %s", strerror(-r));
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

        r = sd_bus_message_is_method_error(answer, NULL) ? -EIO : sd_bus_message_read_basic(answer, 's', &id);
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

        /* Another bus, or the same one started again, has another id, and may give somebody else an owner's
         * name. */
        r = sd_bus_call_method_async(bus, &restore->bus_id, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "GetId", on_bus_id, restore, NULL);
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
