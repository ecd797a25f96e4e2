/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-bus.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "daemon/bus/logout.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/policy/options.h"

#define LOGIND "org.freedesktop.login1"

/* The new owner of the name of logind, and the end of a user. */
static const char *const rules[] = {
        "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
        "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" LOGIND "'",
        "type='signal',sender='" LOGIND "',path='/org/freedesktop/login1',interface='" LOGIND
        ".Manager',member='UserRemoved'",
};

struct LogoutUser {
        uid_t uid;
        bool is_known; /* logind has said so, and not removed the user since */
        bool is_to_ask;
        TAILQ_HEAD(, Listener) listeners;
        UT_hash_handle hh;
};

static void logout_subscribe(Logout *logout);
static void logout_ask(Logout *logout);

static LogoutUser *logout_find(Logout *logout, uid_t uid) {
        LogoutUser *user;

        HASH_FIND(hh, logout->users, &uid, sizeof(uid), user);
        return user;
}

static void logout_unsubscribe(Logout *logout) {
        for (size_t i = 0; i < ELEMENTS(rules); i++)
                (void) bus_driver_call(logout->bus, NULL, "org.freedesktop.DBus", "RemoveMatch", rules[i],
                                       NULL, NULL);
        logout->owner_answer = sd_bus_slot_unref(logout->owner_answer);
        free(TAKE_PTR(logout->logind));
        logout->is_subscribed = false;
}

static void user_drop(Logout *logout, LogoutUser *user) {
        HASH_DEL(logout->users, user);
        free(user);
        if (!logout->users)
                logout_unsubscribe(logout);
}

/* The listener stays when its user logs out. */
static void user_release(LogoutUser *user, Listener *l) {
        TAILQ_REMOVE(&user->listeners, l, logout_link);
        l->logout_user = NULL;
        l->logout = LISTENER_LOGOUT_STAYS;
        listener_save_state(l);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error);

int logout_init(Logout *logout, sd_bus *bus) {
        *logout = (Logout) { .bus = bus };
        return sd_bus_add_filter(bus, &logout->filter, on_message, logout);
}

void logout_done(Logout *logout) {
        LogoutUser *user, *next;
        Listener *l;

        logout->filter = sd_bus_slot_unref(logout->filter);
        logout->answer = sd_bus_slot_unref(logout->answer);
        logout->owner_answer = sd_bus_slot_unref(logout->owner_answer);
        free(TAKE_PTR(logout->logind));

        HASH_ITER(hh, logout->users, user, next) {
                /* Their states are left to the next process. */
                TAILQ_FOREACH(l, &user->listeners, logout_link)
                        l->logout_user = NULL;
                HASH_DEL(logout->users, user);
                free(user);
        }
}

static LogoutUser *logout_add_user(Logout *logout, uid_t uid) {
        LogoutUser *user;

        user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;

        user->uid = uid;
        TAILQ_INIT(&user->listeners);
        HASH_ADD(hh, logout->users, uid, sizeof(uid), user);
        if (!hash_was_added(&user->hh)) {
                free(user);
                return NULL;
        }

        return user;
}

void logout_add(Logout *logout, Listener *l) {
        LogoutUser *user;

        assert(!l->logout_user);

        if (!l->options->persistent || l->uid == 0)
                return;

        user = logout_find(logout, l->uid) ?: logout_add_user(logout, l->uid);
        if (!user) {
                log_warning("Out of memory, %s of user %u will not be closed when its user logs out", l->path,
                            (unsigned) l->uid);
                return;
        }

        if (l->logout == LISTENER_LOGOUT_STAYS)
                l->logout = user->is_known ? LISTENER_LOGOUT_ENDS : LISTENER_LOGOUT_TO_ASK;
        user->is_to_ask = user->is_to_ask || !user->is_known;
        l->logout_user = user;
        TAILQ_INSERT_TAIL(&user->listeners, l, logout_link);

        logout_subscribe(logout);
        logout_ask(logout);
}

void logout_remove(Logout *logout, Listener *l) {
        LogoutUser *user = l->logout_user;

        if (!user)
                return;

        TAILQ_REMOVE(&user->listeners, l, logout_link);
        l->logout_user = NULL;
        if (TAILQ_EMPTY(&user->listeners))
                user_drop(logout, user);
}

static void log_logout(const Listener *l) {
        char address[ADDRESS_STRING_MAX];
        LogFields fields = listener_log_all_fields(l, address);

        fields.kind = LOG_KIND_LISTENER;
        log_event(LOG_NOTICE, MESSAGE_LISTENER_CLOSED_STR, &fields,
                  "Closing %s of user %u, port %u on %s: the user has logged out", l->path, (unsigned) l->uid,
                  fields.port, address);
}

static void user_close(LogoutUser *user, Listener *l) {
        /* A listener with a taken socket remains for a moment. Its state is saved as closing. */
        TAILQ_REMOVE(&user->listeners, l, logout_link);
        l->logout_user = NULL;
        log_logout(l);
        listener_close(l, LISTENER_END_LOGOUT);
}

/* When logind has answered for the first time, the listener counts as one of a session or not. */
static void user_set_known(LogoutUser *user, bool known) {
        Listener *l, *next;

        user->is_known = known;
        for (l = TAILQ_FIRST(&user->listeners); l; l = next) {
                next = TAILQ_NEXT(l, logout_link);
                if (l->logout == LISTENER_LOGOUT_ENDS && !known)
                        user_close(user, l);
                else if (l->logout == LISTENER_LOGOUT_ASKED && !known)
                        user_release(user, l);
                else if (l->logout == LISTENER_LOGOUT_ASKED) {
                        l->logout = LISTENER_LOGOUT_ENDS;
                        listener_save_state(l);
                }
        }
}

static int on_user(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        Logout *logout = userdata;
        LogoutUser *user;

        logout->answer = sd_bus_slot_unref(logout->answer);

        user = logout_find(logout, logout->asked_uid);
        if (user && sd_bus_message_is_method_error(answer, LOGIND ".NoSuchUser"))
                user_set_known(user, false);
        else if (user && !sd_bus_message_is_method_error(answer, NULL))
                user_set_known(user, true);
        else if (user)
                /* logind is asked again when it is back on the bus. */
                log_debug("Failed to ask logind for user %u: %s", (unsigned) user->uid,
                          sd_bus_message_get_error(answer)->message);

        if (user && TAILQ_EMPTY(&user->listeners))
                user_drop(logout, user);
        logout_ask(logout);
        return 0;
}

static int user_ask(Logout *logout, const LogoutUser *user) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(logout->bus, &m, LOGIND, "/org/freedesktop/login1",
                                           LOGIND ".Manager", "GetUser");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'u', &user->uid);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_call_async(logout->bus, &logout->answer, m, on_user, logout, UINT64_MAX);

        return r;
}

/* One question at a time: logind may hang, and the bus limits the number of calls without an answer. */
static void logout_ask(Logout *logout) {
        LogoutUser *user = logout->users;
        Listener *l;
        int r;

        if (logout->answer)
                return;

        while (user && !user->is_to_ask)
                user = user->hh.next;
        if (!user)
                return;

        user->is_to_ask = false;
        logout->asked_uid = user->uid;
        TAILQ_FOREACH(l, &user->listeners, logout_link)
                if (l->logout == LISTENER_LOGOUT_TO_ASK)
                        l->logout = LISTENER_LOGOUT_ASKED;

        r = user_ask(logout, user);
        if (r < 0)
                log_warning("Failed to ask logind for user %u: %s", (unsigned) user->uid, strerror(-r));
}

static void logout_set_logind(Logout *logout, const char *name) {
        free(logout->logind);
        logout->logind = *name != '\0' ? strdup(name) : NULL;
}

static int on_owner(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        Logout *logout = userdata;
        const char *name;

        logout->owner_answer = sd_bus_slot_unref(logout->owner_answer);
        if (!sd_bus_message_is_method_error(answer, NULL) && bus_driver_is_sender(answer) &&
            sd_bus_message_read_basic(answer, 's', &name) > 0)
                logout_set_logind(logout, name);
        return 0;
}

static void on_owner_changed(Logout *logout, sd_bus_message *m) {
        const char *name, *before, *after;

        if (!bus_driver_is_sender(m) || sd_bus_message_read(m, "sss", &name, &before, &after) < 0 ||
            !streq(name, LOGIND))
                return;

        logout_set_logind(logout, after);
        if (*after != '\0')
                for (LogoutUser *user = logout->users; user; user = user->hh.next)
                        user->is_to_ask = true;
        logout_ask(logout);
}

static void on_removed(Logout *logout, sd_bus_message *m) {
        const char *sender = sd_bus_message_get_sender(m);
        LogoutUser *user;
        uint32_t uid;
        Listener *l;

        /* Other clients can send such a signal as well. */
        if (!logout->logind || !sender || !streq(sender, logout->logind) ||
            sd_bus_message_read_basic(m, 'u', &uid) < 0)
                return;

        user = logout_find(logout, uid);
        if (!user)
                return;

        while ((l = TAILQ_FIRST(&user->listeners)))
                user_close(user, l);
        user_drop(logout, user);
}

/* A filter, because libsystemd aborts if it is out of memory when it adds a match. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Logout *logout = userdata;

        if (!logout->users)
                return 0;

        if (sd_bus_message_is_signal(m, "org.freedesktop.DBus", "NameOwnerChanged") > 0)
                on_owner_changed(logout, m);
        else if (sd_bus_message_is_signal(m, LOGIND ".Manager", "UserRemoved") > 0)
                on_removed(logout, m);
        return 0;
}

static void log_not_subscribed(const char *reason) {
        log_warning("Failed to subscribe to logind, listeners will stay when their users log out: %s",
                    reason);
}

static int on_match_added(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        if (sd_bus_message_is_method_error(m, NULL))
                log_not_subscribed(sd_bus_message_get_error(m)->message);
        return 0;
}

/* In this order, so that the name of logind is known when it sends UserRemoved, and so that no such signal is
 * missed after the answer to GetUser. */
static void logout_subscribe(Logout *logout) {
        int r;

        if (logout->is_subscribed)
                return;

        logout->is_subscribed = true;
        r = bus_driver_call(logout->bus, NULL, "org.freedesktop.DBus", "AddMatch", rules[0], on_match_added,
                            NULL);
        if (r >= 0)
                r = bus_driver_call(logout->bus, &logout->owner_answer, "org.freedesktop.DBus",
                                    "GetNameOwner", LOGIND, on_owner, logout);
        if (r >= 0)
                r = bus_driver_call(logout->bus, NULL, "org.freedesktop.DBus", "AddMatch", rules[1],
                                    on_match_added, NULL);
        if (r < 0)
                log_not_subscribed(strerror(-r));
}
