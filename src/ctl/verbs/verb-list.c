/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
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

static int add_user(Table *t, const Listener *l) {
        return l->user ? table_add(t, NULL, "%s", l->user) : table_add(t, NULL, "%" PRIu32, l->owner_uid);
}

static int add_owner(Table *t, const Listener *l) {
        const Process *p = &l->process;

        return add_user(t, l) ?:
               (l->pid > 0 ? table_add(t, NULL, "%" PRIu32, l->pid) : table_add(t, NULL, "-")) ?:
               table_add(t, NULL, "%s", p->server ?: p->command ?: "") ?:
               table_add(t, NULL, "%s", p->application ?: p->unit ?: "");
}

static int add_state(Table *t, const Listener *l) {
        if (l->paused)
                return table_add(t, COLOUR_WARNING, "%s", _("paused"));
        if (listener_is_orphaned(l))
                return table_add(t, COLOUR_WARNING, "%s", _("no owner"));

        return table_add(t, COLOUR_GOOD, "%s", _("listening"));
}

static int add_counter(Table *t, const Listener *l, const char *colour, uint64_t value) {
        return listener_is_taken(l) ? table_add(t, NULL, "-") : table_add(t, colour, "%" PRIu64, value);
}

static int add_row(Table *t, const Listener *l) {
        return table_add(t, NULL, "%s", listener_get_number(l->path)) ?:
               table_add(t, NULL, "%s", l->local_address ?: "") ?: table_add(t, NULL, "%u", l->local_port) ?:
               table_add(t, NULL, "%s", l->interface ?: "") ?: add_owner(t, l) ?:
               table_add(t, NULL, "%s", l->delivery ?: "") ?: add_state(t, l) ?:
               add_counter(t, l, NULL, l->accepted) ?:
               add_counter(t, l, l->lost > 0 ? COLOUR_ERROR : NULL, l->lost) ?:
               table_add(t, NULL, "%s", l->name ?: "");
}

static int print_table(const Context *c, const Listeners *l) {
        const TableColumn columns[] = {
                { _("LISTENER"), .right = true },
                { _("ADDRESS") },
                { _("PORT"), .right = true },
                { _("INTERFACE"), .rank = 3 },
                { _("USER") },
                { _("PID"), .right = true, .rank = 4 },
                { _("COMMAND"), .shrinks = true, .rank = 7 },
                { _("UNIT"), .shrinks = true, .rank = 5 },
                { _("DELIVERY"), .rank = 1 },
                { _("STATE"), .rank = 8 },
                { _("ACCEPTED"), .right = true, .rank = 2 },
                { _("LOST"), .right = true, .rank = 6 },
                { _("NAME"), .shrinks = true },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTS(columns));
        int r;

        if (!t)
                return message_oom();
        for (size_t i = 0; i < l->n; i++)
                if (add_row(t, l->items + i) < 0)
                        return message_oom();

        pager_open(c);
        r = table_print(t, c);
        if (r < 0)
                return message_oom();
        if (!c->legend || c->quiet)
                return 0;

        if (l->n == 0)
                puts(_("No listeners."));
        else
                printf(ngettext("\n%zu listener listed.\n", "\n%zu listeners listed.\n", l->n), l->n);
        if (r > 0)
                puts(_("Use -l to see all columns in full."));
        return 0;
}

int verb_list(int argc, char *argv[], Context *c) {
        _cleanup_(listeners_done) Listeners l = {};
        int r;

        r = query_listeners(c, &l);
        if (r < 0)
                return r;

        for (size_t i = 0; i < l.n; i++)
                if (query_owner(c, l.items + i) < 0)
                        return message_oom();

        return c->json == JSON_OFF ? print_table(c, &l) : print_json(c, &l);
}
