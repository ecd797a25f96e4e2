/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus/unread-bus.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/error-reply.h"
#include "daemon/outbox/outbox.h"

/* The maximum size of a reply in bytes, without names of the call that it may repeat. Calls without a reply
 * count as well, because they can cause a signal. */
#define ANSWER_SIZE UINT64_C(512)
#define GET_ALL_SIZE UINT64_C(2048)
#define INTROSPECT_SIZE UINT64_C(6144)

#define ASK_AGAIN_USEC (UINT64_C(500) * 1000)

static void unread_bus_ask_later(UnreadBus *u);

/* Sends refusals that were held back, as far as there is room. */
static void client_send_held(UnreadClient *c, bool disabled) {
        uint32_t n = 0;

        while (n < c->n_held && (disabled || unread_client_has_room(c, ANSWER_SIZE))) {
                unread_client_count(c, ANSWER_SIZE);
                (void) sd_bus_send(NULL, c->held[n], NULL);
                sd_bus_message_unref(c->held[n++]);
        }

        c->n_held -= n;
        if (c->n_held > 0)
                /* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
                memmove(c->held, c->held + n, c->n_held * sizeof(*c->held));
        else {
                free(c->held);
                c->held = NULL;
        }
}

/* Notifies the outbox of a deferred signal when there is room. */
static void client_tell_room(UnreadBus *u, UnreadClient *c) {
        const Client *client;

        if (!c->signal_deferred || (!u->disabled && !unread_client_has_room(c, ANSWER_SIZE)))
                return;

        c->signal_deferred = false;
        client = manager_find_client(u->manager, c->name);
        if (client && client->outbox)
                outbox_admit_again(client->outbox);
}

static bool client_has_to_wait(const UnreadClient *c) {
        return c->charge.amount > UNREAD_FREE || c->n_held > 0 || c->signal_deferred;
}

static void unread_bus_disable(UnreadBus *u) {
        u->disabled = true;

        if (u->manager->traffic.is_daemon)
                log_warning("The bus does not report unread bytes, a client that does not read can block others");

        /* No client is added when the accounting is disabled. */
        for (UnreadClient *c = u->unread.clients; c; c = c->hh.next) {
                client_send_held(c, true);
                client_tell_room(u, c);
        }
}

static void handle_statistics(UnreadBus *u, UnreadClient *c, sd_bus_message *m) {
        BusWaiting waiting;
        int r;

        r = bus_driver_read_waiting(m, &waiting);
        if (r == -EOPNOTSUPP)
                unread_bus_disable(u);
        if (r < 0)
                return;

        unread_client_set_waiting(c, waiting.bytes);
        client_send_held(c, false);
        client_tell_room(u, c);
}

static int on_statistics(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        UnreadClient *c = userdata;
        UnreadBus *u = CONTAINER_OF(c->unread, UnreadBus, unread);

        c->question = sd_bus_slot_unref(c->question);

        handle_statistics(u, c, m);
        if (client_has_to_wait(c))
                unread_bus_ask_later(u);
        return 0;
}

/* The bus processes messages in order, so that its answer includes all that was sent before. */
static void unread_bus_ask(UnreadBus *u, UnreadClient *c) {
        int r;

        if (c->question)
                return;

        unread_client_ask(c);
        r = bus_driver_ask_waiting(u->bus, &c->question, c->name, on_statistics, c);
        if (r < 0) {
                log_debug("Failed to call GetConnectionStats for %s: %s", c->name, strerror(-r));
                unread_bus_ask_later(u);
        }
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        UnreadBus *u = userdata;

        u->timer = sd_event_source_disable_unref(u->timer);

        for (UnreadClient *c = u->unread.clients; c && !u->disabled; c = c->hh.next)
                if (client_has_to_wait(c))
                        unread_bus_ask(u, c);

        return 0;
}

/* A client may read without calling again for a long time, while other clients of its user wait for that. */
static void unread_bus_ask_later(UnreadBus *u) {
        int r;

        if (u->timer || u->disabled)
                return;

        r = sd_event_add_time_relative(sd_bus_get_event(u->bus), &u->timer, CLOCK_MONOTONIC, ASK_AGAIN_USEC,
                                       0, on_timer, u);
        if (r < 0)
                log_error("Failed to set a timer: %s", strerror(-r));
}

static int client_set_error(const UnreadClient *c, Error *error) {
        uint64_t limit = unread_client_get_limit(c);
        uid_t uid = c->charge.user->uid;
        uint64_t others = c->charge.user->used[USER_UNREAD_BYTES] - c->charge.amount;

        if (uid != USER_UNIDENTIFIED)
                log_event(LOG_NOTICE, NULL,
                          &(LogFields) { .owner = c->name, .has_owner_uid = true, .owner_uid = uid },
                          "Refused a call of user %u: it has %llu bytes of unread messages (maximum %llu)",
                          (unsigned) uid, (unsigned long long) c->charge.amount, (unsigned long long) limit);

        if (c->charge.amount <= limit)
                return error_set(error, ERROR_UNREAD_BY_USER, (uint64_t) others);

        return error_set(error, ERROR_UNREAD_BY_CALLER, (uint64_t) c->charge.amount, limit);
}

int unread_bus_admit(UnreadBus *u, sd_bus_message *call, uid_t uid, uint64_t size, Error *error) {
        UnreadClient *c;
        int r;

        if (u->disabled)
                return 0;

        r = unread_acquire_client(&u->unread, sd_bus_message_get_sender(call), &c);
        if (r < 0)
                return r;
        r = unread_client_set_uid(c, uid);
        if (r < 0)
                return r;

        if (!unread_client_has_long_room(c, size))
                return client_set_error(c, error);

        unread_client_count_long(c, size);
        if (c->charge.amount > UNREAD_FREE)
                unread_bus_ask_later(u);
        return 0;
}

/* An error may repeat names of the call, which can have any length: the path twice, in its text and as a
 * value. Strings in the arguments are repeated only in errors about properties. */
static uint64_t call_get_size(sd_bus_message *m) {
        const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m), *s;
        uint64_t size = 2 * strlen(sd_bus_message_get_path(m)) + (interface ? strlen(interface) : 0) +
                        strlen(member);

        if (interface && streq(interface, "org.freedesktop.DBus.Properties")) {
                for (const char *type = sd_bus_message_get_signature(m, true); *type == 's'; type++) {
                        if (sd_bus_message_read_basic(m, 's', &s) <= 0)
                                break;
                        size += strlen(s);
                }
                (void) sd_bus_message_rewind(m, true);
        }

        return size + (streq(member, "Introspect") ? INTROSPECT_SIZE
                       : streq(member, "GetAll")   ? GET_ALL_SIZE
                                                   : ANSWER_SIZE);
}

/* The refusal counts as well, so that it is held back until the client has room for it. */
static int client_refuse(UnreadClient *c, sd_bus_message *m, uint64_t size) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(error_done) Error error = {};
        int r;

        if (sd_bus_message_get_expect_reply(m) <= 0)
                return 1;

        if (size > UNREAD_FREE)
                r = error_set(&error, ERROR_CALL_TOO_LONG, size, UNREAD_FREE);
        else
                r = client_set_error(c, &error);
        if (!error_is_set(&error))
                return r;

        r = error_reply_new(m, &error, &reply);
        if (r < 0)
                return r;

        /* Possible on a session bus only, which does not limit pending replies. */
        if (c->n_held == UNREAD_HELD_MAX) {
                unread_client_count(c, ANSWER_SIZE);
                (void) sd_bus_send(NULL, reply, NULL);
                return 1;
        }

        if (!c->held)
                /* NOLINTNEXTLINE(bugprone-sizeof-expression): of pointers */
                c->held = calloc(UNREAD_HELD_MAX, sizeof(*c->held));
        if (!c->held)
                return -ENOMEM;

        c->held[c->n_held++] = TAKE_PTR(reply);
        client_send_held(c, false);
        return 1;
}

/* The client may have been identified since it was added. */
static int unread_bus_identify(UnreadBus *u, UnreadClient *c) {
        const Client *client;

        if (c->charge.user->uid != USER_UNIDENTIFIED)
                return 0;

        client = manager_find_client(u->manager, c->name);
        return client && client->identified ? unread_client_set_uid(c, client->uid) : 0;
}

/* Asks first: the answer of the bus does not contain messages that are sent after the question. */
static void unread_bus_count(UnreadBus *u, UnreadClient *c, uint64_t size) {
        if (c->sent - c->asked >= UNREAD_FREE)
                unread_bus_ask(u, c);
        unread_client_count(c, size);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        UnreadBus *u = userdata;
        UnreadClient *c;
        uint64_t size;
        uint8_t type;
        int r;

        if (u->disabled || sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL ||
            !sd_bus_message_get_sender(m))
                return 0;

        r = unread_acquire_client(&u->unread, sd_bus_message_get_sender(m), &c);
        if (r < 0)
                return r;

        size = call_get_size(m);
        if (c->charge.amount + size > UNREAD_FREE) {
                r = unread_bus_identify(u, c);
                if (r < 0)
                        return r;
        }

        if (size <= UNREAD_FREE && unread_client_has_room(c, size)) {
                unread_bus_count(u, c, size);
                return 0;
        }

        unread_bus_ask(u, c);
        return client_refuse(c, m, size);
}

/* Returns NULL if accounting is disabled, or if there is no memory; the signal is sent then. */
static UnreadClient *unread_bus_acquire_receiver(UnreadBus *u, const char *name) {
        UnreadClient *c;

        if (u->disabled || unread_acquire_client(&u->unread, name, &c) < 0)
                return NULL;

        (void) unread_bus_identify(u, c); /* else it shares the limit of unidentified clients */
        return c;
}

bool unread_bus_admit_signal(UnreadBus *u, const char *name, uint64_t size) {
        UnreadClient *c = unread_bus_acquire_receiver(u, name);

        if (!c)
                return true;

        if (!unread_client_has_room(c, size)) {
                c->signal_deferred = true;
                unread_bus_ask(u, c);
                return false;
        }

        unread_bus_count(u, c, size);
        return true;
}

void unread_bus_count_signal(UnreadBus *u, const char *name, uint64_t size) {
        UnreadClient *c = unread_bus_acquire_receiver(u, name);

        if (c)
                unread_bus_count(u, c, size);
}

int unread_bus_init(UnreadBus *u, sd_bus *bus, Manager *manager) {
        *u = (UnreadBus) { .unread.users = &manager->users, .bus = bus, .manager = manager };

        return sd_bus_add_filter(bus, &u->filter, on_message, u);
}

void unread_bus_forget(UnreadBus *u, const char *name) {
        UnreadClient *c;

        c = unread_find_client(&u->unread, name);
        if (!c)
                return;

        c->question = sd_bus_slot_unref(c->question);
        while (c->n_held > 0)
                sd_bus_message_unref(c->held[--c->n_held]);
        free(c->held);
        (void) unread_client_free(c);
}

void unread_bus_done(UnreadBus *u) {
        u->disabled = true; /* messages during the shutdown are not counted */
        while (u->unread.clients)
                unread_bus_forget(u, u->unread.clients->name);

        u->timer = sd_event_source_disable_unref(u->timer);
        u->filter = sd_bus_slot_unref(u->filter);
}
