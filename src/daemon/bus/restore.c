/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus/restore.h"
#include "daemon/core/client.h"
#include "daemon/core/manager-restore.h"
#include "daemon/core/manager.h"
#include "daemon/store/store.h"

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

static bool is_from_bus(sd_bus_message *answer) {
        const char *sender = sd_bus_message_get_sender(answer);

        return sender && streq(sender, "org.freedesktop.DBus");
}

/* Only the bus knows. No answer, or one that says something else, is none: whoever is still there would lose
 * its listeners for good. */
static int owner_is_there(sd_bus_message *answer, const Client *client) {
        Listener *l;
        uint32_t uid;
        int r;

        if (!is_from_bus(answer))
                return -EIO;
        if (sd_bus_message_is_method_error(answer, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return false;
        if (sd_bus_message_is_method_error(answer, NULL))
                return -EIO;

        r = sd_bus_message_read_basic(answer, 'u', &uid);
        if (r < 0)
                return r;

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
        int r = 0;

        /* NULL: it has left meanwhile, and its listeners are closed. */
        client = manager_find_client(restore->manager, question->name);
        if (client)
                r = owner_is_there(answer, client);
        if (client && r == 0) {
                log_debug("%s is not there any more", question->name);
                manager_remove_client(restore->manager, client);
        }
        if (r > 0)
                r = manager_identify_client(restore->manager, client, TAILQ_FIRST(&client->listeners)->uid);
        if (r < 0) {
                /* Another attempt may be luckier. */
                log_error("Cannot find out whether %s is still there: %s", question->name, strerror(-r));
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

        r = sd_bus_message_is_method_error(answer, NULL) || !is_from_bus(answer)
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
