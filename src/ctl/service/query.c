/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <systemd/sd-bus.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "ctl/cli/message.h"
#include "ctl/service/client.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"

static int read_basic(sd_bus_message *m, char type, void *to) {
        const char *s;
        char *copy;
        int r;

        if (type != 's')
                return sd_bus_message_read_basic(m, type, to);

        r = sd_bus_message_read_basic(m, 's', &s);
        if (r < 0)
                return r;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        free(*(char **) to);
        *(char **) to = copy;
        return 0;
}

/* Reads the variant of one property; what is not in the table, or of another type, is passed over. */
static int read_listener_property(sd_bus_message *m, const char *name, Listener *l) {
        const char *contents;
        int r;

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_listener_fields; i++) {
                const ListenerField *field = listener_fields + i;

                if (!streq(field->property, name) || !streq(contents, (char[]) { field->type, '\0' }))
                        continue;

                r = sd_bus_message_enter_container(m, 'v', contents);
                if (r >= 0)
                        r = read_basic(m, field->type, (char *) l + field->offset);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                return r;
        }

        return sd_bus_message_skip(m, "v");
}

static int read_listener(sd_bus_message *m, Listener *l) {
        const char *name;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &name);
                if (r >= 0)
                        r = read_listener_property(m, name, l);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_listeners(sd_bus_message *m, Listeners *l) {
        Listener *items;
        const char *path;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(oa{sv})");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'r', "oa{sv}")) > 0) {
                items = reallocarray(l->items, l->n + 1, sizeof(*items));
                if (!items)
                        return -ENOMEM;
                l->items = items;
                l->items[l->n++] = (Listener) {};

                r = sd_bus_message_read_basic(m, 'o', &path);
                if (r < 0)
                        return r;
                l->items[l->n - 1].path = strdup(path);
                if (!l->items[l->n - 1].path)
                        return -ENOMEM;

                r = read_listener(m, l->items + l->n - 1);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int compare_listeners(const void *a, const void *b) {
        uint64_t x = strtoull(listener_get_number(((const Listener *) a)->path), NULL, 10),
                 y = strtoull(listener_get_number(((const Listener *) b)->path), NULL, 10);

        return x < y ? -1 : x > y;
}

static int new_list(Context *c, bool start, sd_bus_message **ret) {
        int r;

        r = sd_bus_message_new_method_call(c->bus, ret, BUS_NAME, MANAGER_PATH, MANAGER_INTERFACE,
                                           "ListListeners");
        return r < 0 ? r : sd_bus_message_set_auto_start(*ret, start);
}

int query_listeners_start(Context *c, sd_bus_message_handler_t handler, void *userdata, sd_bus_slot **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_list(c, false, &m);
        return r < 0 ? r : sd_bus_call_async(c->bus, ret, m, handler, userdata, 0);
}

int query_listeners_finish(sd_bus_message *reply, Listeners *ret) {
        _cleanup_(listeners_done) Listeners l = {};
        int r;

        r = -sd_bus_message_get_errno(reply);
        if (r == 0)
                r = read_listeners(reply, &l);
        if (r < 0)
                return r;

        if (l.n > 0)
                qsort(l.items, l.n, sizeof(*l.items), compare_listeners);
        *ret = TAKE(l, (Listeners) {});
        return 0;
}

static int call_list(Context *c, bool start, sd_bus_error *error, Listeners *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = new_list(c, start, &m);
        if (r >= 0)
                r = sd_bus_call(c->bus, m, 0, error, &reply);

        return r < 0 ? r : query_listeners_finish(reply, ret);
}

int query_listeners_quietly(Context *c, Listeners *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        return call_list(c, false, &error, ret);
}

int query_listeners(Context *c, Listeners *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        r = call_list(c, true, &error, ret);
        return r < 0 ? client_error(c, r, &error, _("Failed to list listeners")) : 0;
}

int query_listener(Context *c, const char *path, Listener *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(listener_done) Listener l = {};
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        r = sd_bus_call_method(c->bus, BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll", &error,
                               &reply, "s", LISTENER_INTERFACE);
        if (r >= 0)
                r = read_listener(reply, &l);
        if (r < 0)
                return client_error(c, r, &error, _("Failed to look at listener %s"),
                                    listener_get_number(path));

        l.path = strdup(path);
        if (!l.path)
                return message_oom();

        *ret = TAKE(l, (Listener) {});
        return 0;
}

static int find_name(Context *c, const char *name, char **ret) {
        _cleanup_(listeners_done) Listeners l = {};
        const Listener *found = NULL;
        int r;

        r = query_listeners(c, &l);
        if (r < 0)
                return r;

        for (size_t i = 0; i < l.n; i++) {
                if (!l.items[i].name || !streq(l.items[i].name, name))
                        continue;
                if (found)
                        return message_error(
                                        -ENOTUNIQ,
                                        _("More than one listener has the name \"%s\"; \"list\" shows their "
                                          "numbers, use one."),
                                        name);
                found = l.items + i;
        }
        if (!found)
                return message_error(-ENOENT, _("There is no listener \"%s\"; \"list\" shows what there is."),
                                     name);

        *ret = strdup(found->path);
        return *ret ? 0 : message_oom();
}

int query_path(Context *c, const char *text, char **ret) {
        size_t digits = strspn(text, "0123456789");

        if (digits > 0 && text[digits] == '\0') {
                if (asprintf(ret, LISTENER_PREFIX "/%s", text) < 0)
                        return message_oom();
                return 0;
        }

        /* Those without a name have the empty one. */
        if (*text == '\0')
                return message_error(-EINVAL, _("There is no listener \"%s\"; \"list\" shows what there is."),
                                     text);
        if (*text != '/')
                return find_name(c, text, ret);
        if (!sd_bus_object_path_is_valid(text) ||
            strncmp(text, LISTENER_PREFIX "/", strlen(LISTENER_PREFIX "/")) != 0)
                return message_error(-EINVAL, _("\"%s\" is not the path of a listener; these are %s/N."),
                                     text, LISTENER_PREFIX);

        *ret = strdup(text);
        return *ret ? 0 : message_oom();
}
