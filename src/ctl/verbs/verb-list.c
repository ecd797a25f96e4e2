/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/cli/terminal.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"
#include "ctl/show/pager.h"
#include "ctl/show/table.h"
#include "ctl/verbs/verbs.h"

static int print_json(const Context *c, const Listeners *l) {
        json_object *array = json_object_new_array();

        for (size_t i = 0; i < l->n; i++)
                if (json_append(array, listener_to_json(l->items + i)) < 0) {
                        json_object_put(array);
                        return message_oom();
                }

        return json_print(c, array);
}

/* A container has user names of its own. */
static int add_user(Table *t, const Context *c, uint32_t uid) {
        const struct passwd *user = c->machine ? NULL : getpwuid(uid);

        return user ? table_add(t, NULL, "%s", user->pw_name) : table_add(t, NULL, "%" PRIu32, uid);
}

static int add_row(Table *t, const Context *c, const Listener *l) {
        const char *state, *colour;

        if (l->paused) {
                state = _("paused");
                colour = COLOUR_WARNING;
        } else if (listener_is_orphaned(l)) {
                state = _("no owner");
                colour = COLOUR_WARNING;
        } else {
                state = _("listening");
                colour = COLOUR_GOOD;
        }

        return table_add(t, NULL, "%s", listener_get_number(l->path)) ?:
               table_add(t, NULL, "%s", l->local_address ?: "") ?: table_add(t, NULL, "%u", l->local_port) ?:
               add_user(t, c, l->owner_uid) ?: table_add(t, NULL, "%s", l->delivery ?: "") ?:
               table_add(t, colour, "%s", state) ?: table_add(t, NULL, "%" PRIu64, l->accepted) ?:
               table_add(t, l->lost > 0 ? COLOUR_ERROR : NULL, "%" PRIu64, l->lost) ?:
               table_add(t, NULL, "%s", l->name ?: "");
}

static int print_table(const Context *c, const Listeners *l) {
        const TableColumn columns[] = {
                { _("LISTENER"), .right = true },
                { _("ADDRESS") },
                { _("PORT"), .right = true },
                { _("USER") },
                { _("DELIVERY") },
                { _("STATE") },
                { _("ACCEPTED"), .right = true },
                { _("LOST"), .right = true },
                { _("NAME"), .shrinks = true },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTS(columns));

        if (!t)
                return message_oom();
        for (size_t i = 0; i < l->n; i++)
                if (add_row(t, c, l->items + i) < 0)
                        return message_oom();

        pager_open(c);
        if (table_print(t, c) < 0)
                return message_oom();
        if (!c->legend || c->quiet)
                return 0;

        if (l->n == 0)
                puts(_("No listeners."));
        else
                printf(ngettext("\n%zu listener listed.\n", "\n%zu listeners listed.\n", l->n), l->n);
        return 0;
}

int verb_list(int argc, char *argv[], Context *c) {
        _cleanup_(listeners_done) Listeners l = {};
        int r;

        r = query_listeners(c, &l);
        if (r < 0)
                return r;

        return c->json == JSON_OFF ? print_table(c, &l) : print_json(c, &l);
}
