/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <langinfo.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/cli/terminal.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"
#include "ctl/show/pager.h"
#include "ctl/show/table.h"
#include "ctl/verbs/verbs.h"

/* As of "systemctl status", from LSB: the program is not running. */
#define STATUS_NOT_RUNNING 3

typedef struct Counters {
        uint64_t listeners;
        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;
} Counters;

static Counters count(const Listeners *l) {
        Counters n = { .listeners = l->n };

        for (size_t i = 0; i < l->n; i++) {
                n.accepted += l->items[i].accepted;
                n.delivered += l->items[i].delivered;
                n.refused += l->items[i].refused;
                n.lost += l->items[i].lost;
        }

        return n;
}

static int add_limits(json_object *o, const ServiceStatus *s) {
        int r = 0;

        for (size_t i = 0; r == 0 && i < n_service_limits; i++)
                r = json_add(o, service_limits[i].key, field_to_json(service_limits + i, s));

        return r ?: json_add(o, "allowedPorts", json_object_get(s->allowed_ports)) ?:
                    json_add(o, "allowedAddresses", json_object_get(s->allowed_addresses));
}

static int add_counters(json_object *o, const Counters *n) {
        return json_add_number(o, "listeners", n->listeners) ?: json_add_number(o, "accepted", n->accepted) ?:
               json_add_number(o, "delivered", n->delivered) ?: json_add_number(o, "refused", n->refused) ?:
               json_add_number(o, "lost", n->lost);
}

static int print_json(const Context *c, const ServiceStatus *s, const Counters *n) {
        json_object *o = json_object_new_object(), *limits = json_object_new_object(),
                    *counters = json_object_new_object();
        int r;

        r = json_add_string(o, "version", s->version ?: "") ?: json_add_string(o, "owner", s->owner ?: "");
        if (r == 0 && s->pid > 0)
                r = json_add_number(o, "pid", (uint64_t) s->pid);
        if (r == 0 && s->uid != (uid_t) -1)
                r = json_add_number(o, "uid", s->uid);
        if (r == 0)
                r = json_add(o, "contained", json_object_new_boolean(s->contained));
        if (r == 0)
                r = json_add(o, "limits", json_object_get(limits)) ?:
                    json_add(o, "counters", json_object_get(counters)) ?:
                    add_limits(limits, s) ?: add_counters(counters, n);

        json_object_put(limits);
        json_object_put(counters);
        if (r < 0) {
                json_object_put(o);
                return message_oom();
        }

        return json_print(c, o);
}

/* "Listeners: 12" */
static int _printf_(3, 4) add_line(Table *t, const char *title, const char *format, ...) {
        va_list arguments;
        int r;

        r = table_add(t, NULL, "%s:", title);
        if (r < 0)
                return r;

        va_start(arguments, format);
        r = table_vadd(t, NULL, format, arguments);
        va_end(arguments);
        return r;
}

static int add_list(Table *t, const char *title, json_object *array) {
        _cleanup_free_ char *list = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&list, &size);
        if (!f)
                return -ENOMEM;
        for (size_t i = 0; i < json_object_array_length(array); i++)
                (void) fprintf(f, "%s%s", i > 0 ? " " : "",
                               json_object_get_string(json_object_array_get_idx(array, i)));
        if (fclose(f) == EOF)
                return -ENOMEM;

        return add_line(t, title, "%s", *list ? list : _("any"));
}

static int add_process(Table *t, const Context *c, const ServiceStatus *s) {
        const struct passwd *user = c->machine || s->uid == (uid_t) -1 ? NULL : getpwuid(s->uid);

        if (s->pid <= 0)
                return 0;
        if (user)
                return add_line(t, _("Process"), _("%i, of the user %s"), (int) s->pid, user->pw_name);

        return add_line(t, _("Process"), "%i", (int) s->pid);
}

static int add_containment(Table *t, const ServiceStatus *s) {
        if (s->contained)
                return add_line(t, _("Contained"), "%s", _("yes"));

        return add_line(t, _("Contained"), "%s",
                        s->require_containment
                                        ? _("no, only root may listen")
                                        : _("no, programs can use their sockets for other connections"));
}

static int add_idle(Table *t, const Context *c, const ServiceStatus *s) {
        char idle[32];

        if (s->idle_timeout_usec == UINT64_MAX)
                return add_line(t, _("When idle"), "%s", _("keeps running"));

        (void) snprintf(idle, sizeof(idle), "%.6g", (double) s->idle_timeout_usec / 1e6);
        /* Nothing starts it on a session bus. */
        if (c->user)
                return add_line(t, _("When idle"), _("exits after %s s"), idle);
        return add_line(t, _("When idle"), _("exits after %s s, and starts again when it is called"), idle);
}

static int add_all(Table *t, const Context *c, const ServiceStatus *s, const Counters *n) {
        return add_line(t, _("Bus"), "%s, %s", c->user ? _("session") : _("system"), s->owner ?: "?") ?:
               add_process(t, c, s) ?:
               add_line(t, _("Listeners"),
                        _("%" PRIu64 " that you may see, of at most %" PRIu32 "; %" PRIu32
                          " for each user"),
                        n->listeners, s->max_listeners, s->max_listeners_per_user) ?:
               add_line(t, _("Connections"),
                        _("%" PRIu64 " accepted, %" PRIu64 " delivered, %" PRIu64 " refused, %" PRIu64
                          " lost"),
                        n->accepted, n->delivered, n->refused, n->lost) ?:
               add_line(t, _("On their way"), _("at most %" PRIu32 ", %" PRIu32 " to each client"),
                        s->max_unacknowledged, s->max_unacknowledged_per_client) ?:
               add_line(t, _("Channels"), _("at most %" PRIu32 ", %" PRIu32 " for each user"),
                        s->max_channels, s->max_channels_per_user) ?:
               add_line(t, _("Requests"), _("at most %" PRIu32 " for each user that wait for authorization"),
                        s->max_pending_requests_per_user) ?:
               add_list(t, _("Ports"), s->allowed_ports) ?:
               add_list(t, _("Addresses"), s->allowed_addresses) ?:
               add_line(t, _("Sockets"), "%s",
                        s->allow_socket_delivery ? _("allowed (delivery \"socket\")")
                                                 : _("not allowed (delivery \"socket\")")) ?:
               add_containment(t, s) ?:
               add_idle(t, c, s);
}

static int print_text(const Context *c, const ServiceStatus *s, const Counters *n) {
        static const TableColumn columns[] = { { .right = true }, { .wraps = true } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTS(columns));
        _cleanup_free_ char *version = NULL;
        bool colour;

        version = text_escape(s->version ?: "?", TEXT_ESCAPE_BYTES);
        if (!t || !version || add_all(t, c, s, n) < 0)
                return message_oom();

        pager_open(c);
        colour = terminal_has_colour(stdout);
        printf("%s%s%s tcpserversocketd %s\n", colour ? COLOUR_GOOD : "",
               streq(nl_langinfo(CODESET), "UTF-8") ? "●" : "*", colour ? COLOUR_OFF : "", version);
        return table_print(t, c) < 0 ? message_oom() : 0;
}

int verb_status(int argc, char *argv[], Context *c) {
        _cleanup_(service_status_done) ServiceStatus s = {};
        _cleanup_(listeners_done) Listeners l = {};
        Counters n;
        int r;

        r = query_status(c, &s);
        if (r == -EHOSTUNREACH)
                return STATUS_NOT_RUNNING;
        if (r >= 0)
                r = query_listeners(c, &l);
        if (r < 0)
                return r;

        n = count(&l);
        return c->json == JSON_OFF ? print_text(c, &s, &n) : print_json(c, &s, &n);
}
