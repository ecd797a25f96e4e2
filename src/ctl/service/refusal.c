/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/refusal.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/message.h"

/* JavaScript, in one line. */
#define RULE                                                                                     \
        "polkit.addRule(function(a, s) { if (a.id == \"%s\" && a.lookup(\"port\") == \"%u\" && " \
        "s.user == \"%s\") return polkit.Result.YES; });"

static const char *get_value(const Error *e, const char *key) {
        for (size_t i = 0; i < ERROR_VALUES_MAX && e->info->values[i].type; i++)
                if (streq(e->info->values[i].key, key))
                        return e->values[i];

        return NULL;
}

static bool rule_would_help(const Error *e) {
        static const ErrorId ids[] = {
                ERROR_NOT_AUTHORIZED,
                ERROR_AUTHENTICATION_REQUIRED,
                ERROR_AUTHENTICATION_TIMED_OUT,
                ERROR_AUTHENTICATION_BUSY,
        };

        for (size_t i = 0; i < ELEMENTS(ids); i++)
                if (e->info == error_get_info(ids[i]))
                        return true;
        return false;
}

/* The name that polkit has for the user, or NULL if it cannot stand in a rule. */
static const char *find_user(const Error *e) {
        const char *text = get_value(e, "user");
        const struct passwd *user;
        uint32_t uid;

        /* In a user namespace, the service sees another number than this process. */
        if (!text || parse_uint32(text, 0, UINT32_MAX, &uid) < 0)
                uid = geteuid();
        user = getpwuid(uid);
        return user && !strpbrk(user->pw_name, "\"\\") ? user->pw_name : NULL;
}

void refusal_print_rule(const Context *c, const char *message, uint16_t port) {
        _cleanup_(error_done) Error e = {};
        const char *action, *user;

        /* A container has a polkit and users of its own, and the service of the session asks none. */
        if (c->user || c->machine || error_from_message(message, &e) < 0 || !rule_would_help(&e))
                return;
        action = get_value(&e, "action");
        user = find_user(&e);
        if (!action || !user)
                return;

        message_info(_("To allow it, an administrator can write this line to "
                       "/etc/polkit-1/rules.d/50-tcpserversocket.rules:"));
        message_info(RULE, action, port, user);
}
