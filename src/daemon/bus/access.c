/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/i18n.h"
#include "base/names.h"
#include "daemon/bus/access.h"
#include "daemon/bus/call.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/listener/listener.h"
#include "daemon/policy/options.h"

bool access_owns(const Client *client, const Listener *l) {
        return l->owner == client || (l->options->persistent && client->uid == l->uid);
}

/* A listener in its grace period does not exist any more, but its owner may end the period with Close. */
static bool access_is_over(const Call *call, const Listener *l, Access access) {
        return l->state == LISTENER_CLOSING && !(access == ACCESS_CLOSE && l->owner == call->client);
}

/* Programs of one user may see each other's listeners, because they can inspect each other anyway, but not
 * use them. */
bool access_may(const Call *call, const Listener *l, Access access) {
        if (access_is_over(call, l, access))
                return false;
        if (access_owns(call->client, l))
                return true;

        switch (access) {

        case ACCESS_SEE:
                return call->client->uid == l->uid || call->client->uid == 0 || call->authorized;

        case ACCESS_CLOSE:
                return call->client->uid == 0 || call->authorized;

        default:
                return false;
        }
}

/* Returns the number in the path, or 0 if it is not the path of a listener. */
static uint64_t parse_path(const char *path) {
        const char *number;
        uint64_t id;
        char *end;

        assert(strncmp(path, LISTENER_PREFIX, strlen(LISTENER_PREFIX)) == 0);

        number = strrchr(path, '/') + 1;
        if (number - path != strlen(LISTENER_PREFIX) + 1 || *number < '1' || *number > '9')
                return 0;

        errno = 0;
        id = strtoull(number, &end, 10);
        return errno != 0 || *end != '\0' ? 0 : id;
}

bool access_is_listener_path(const char *path) {
        return parse_path(path) > 0;
}

Listener *access_find_listener(Manager *m, const char *path) {
        uint64_t id = parse_path(path);

        return id > 0 ? manager_find_listener(m, id) : NULL;
}

int access_find_permitted(Call *call, Access access, Listener **ret) {
        const char *path = sd_bus_message_get_path(call->message);
        Listener *l;

        l = access_find_listener(call->manager, path);
        if (!l || access_is_over(call, l, access) ||
            (!access_may(call, l, access) && !access_may(call, l, ACCESS_SEE)))
                return error_set(&call->error, ERROR_NO_SUCH_LISTENER, path);
        if (!access_may(call, l, access))
                return error_set(&call->error, ERROR_NOT_OWNER, path);

        *ret = l;
        return 0;
}

int access_adopt(Call *call, Listener *l, const char *path) {
        int r;

        assert(!l->owner);

        /* Before the reply, so that the next process knows the owner. */
        listener_save_owner(l, call->client->name);
        r = sd_bus_reply_method_return(call->message, path ? "o" : NULL, path);
        if (r < 0) {
                listener_save_owner(l, NULL);
                return r;
        }

        manager_own(call->manager, call->client, l);
        return 0;
}

/* Nothing that the caller or its agent sees depends on whether there is a listener that the caller may not
 * see. The rules of polkit may depend on it, because an administrator has written them. */
void access_need_manage(Call *call, CallNeed *need, Access access, const char *message, bool may_ask) {
        const char *path = sd_bus_message_get_path(call->message);
        bool is_visible = false;
        Listener *l;

        l = access_find_listener(call->manager, path);
        if (l && (access_may(call, l, access) || access_owns(call->client, l)))
                return;
        if (l && access_is_over(call, l, access))
                l = NULL;

        if (l) {
                is_visible = access_may(call, l, ACCESS_SEE);
                (void) snprintf(need->port, sizeof(need->port), "%u", address_get_port(&l->address));
                (void) address_format(&l->address, need->address);
                /* A copy, because the listener may be closed before the question is sent. */
                (void) snprintf(need->name, sizeof(need->name), "%s", l->options->name);
        }

        need->is_secret = !is_visible;
        need->question.action = ACTION_MANAGE;
        need->question.may_ask = may_ask &&
                                 sd_bus_message_get_allow_interactive_authorization(call->message) > 0;
        polkit_question_add(&need->question, "listener", path + strlen(LISTENER_PREFIX "/"));
        polkit_question_add_private(&need->question, "port", need->port);
        polkit_question_add_private(&need->question, "address", need->address);
        polkit_question_add_private(&need->question, "name", need->name);
        if (message) {
                polkit_question_add(&need->question, "polkit.message", message);
                polkit_question_add(&need->question, "polkit.gettext_domain", GETTEXT_PACKAGE);
        }
}

void access_need_list(Call *call, CallNeed *need) {
        for (const Listener *l = call->manager->listeners; l; l = l->hh.next)
                if (l->state != LISTENER_CLOSING && !access_may(call, l, ACCESS_SEE)) {
                        need->question.action = ACTION_MANAGE;
                        need->optional = true;
                        return;
                }
}
