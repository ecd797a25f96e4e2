/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <pwd.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "ctl/cli/message.h"
#include "ctl/service/client.h"
#include "ctl/service/query.h"
#include "ctl/show/json.h"

/* ------------------------------------------------------------------------------------------- listeners */

static int read_listener_property(sd_bus_message *m, const char *key, const char *contents, void *userdata) {
        return field_read(m, key, contents, listener_fields, n_listener_fields, userdata);
}

static int read_listener(sd_bus_message *m, Listener *l) {
        return field_read_dict(m, read_listener_property, l);
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

static int get_listener(Context *c, const char *path, sd_bus_error *error, Listener *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(listener_done) Listener l = {};
        int r;

        r = sd_bus_call_method(c->bus, BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll", error,
                               &reply, "s", LISTENER_INTERFACE);
        if (r >= 0)
                r = read_listener(reply, &l);
        if (r < 0)
                return r;

        l.path = strdup(path);
        if (!l.path)
                return -ENOMEM;

        *ret = TAKE(l, (Listener) {});
        return 0;
}

int query_listener(Context *c, const char *path, Listener *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        r = get_listener(c, path, &error, ret);
        return r < 0 ? client_error(c, r, &error, _("Failed to get the properties of listener %s"),
                                    listener_get_number(path))
                     : 0;
}

int query_listener_quietly(Context *c, const char *path, Listener *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        return get_listener(c, path, &error, ret);
}

/* OwnerPID is the process that has created the listener. A persistent one can have another owner since, or
 * none. */
static uint32_t find_pid(Context *c, const Listener *l) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        pid_t pid;

        if (!l->persistent)
                return l->owner_pid;
        if (!l->owner || *l->owner == '\0' ||
            sd_bus_get_name_creds(c->bus, l->owner, SD_BUS_CREDS_PID, &creds) < 0 ||
            sd_bus_creds_get_pid(creds, &pid) < 0)
                return 0;

        return (uint32_t) pid;
}

int query_owner(Context *c, Listener *l) {
        const struct passwd *user;

        l->pid = find_pid(c, l);
        /* A container has users and processes of its own. */
        if (c->machine)
                return 0;

        user = getpwuid(l->owner_uid);
        if (user) {
                l->user = strdup(user->pw_name);
                if (!l->user)
                        return -ENOMEM;
        }

        return l->pid > 0 ? process_query((pid_t) l->pid, l->owner_uid, &l->process) : 0;
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
                return message_error(-ENOENT, _("There is no listener \"%s\"; \"list\" shows all."), name);

        *ret = strdup(found->path);
        return *ret ? 0 : message_oom();
}

/* A user may have meant the port. */
static int find_number(Context *c, const char *number, char **ret) {
        _cleanup_(listeners_done) Listeners l = {};
        _cleanup_free_ char *path = NULL;
        const Listener *other = NULL;
        int r;

        if (asprintf(&path, LISTENER_PREFIX "/%s", number) < 0) {
                path = NULL;
                return message_oom();
        }
        r = context_connect(c);
        if (r < 0)
                return r;

        /* A caller that may not manage listeners of other users does not see them here. */
        (void) query_listeners_quietly(c, &l);
        for (size_t i = 0; i < l.n; i++) {
                if (streq(l.items[i].path, path)) {
                        other = NULL;
                        break;
                }
                if (l.items[i].local_port == strtoul(number, NULL, 10))
                        other = l.items + i;
        }
        if (other)
                return message_error(-ENOENT, _("There is no listener %s; listener %s has port %u."), number,
                                     listener_get_number(other->path), other->local_port);

        *ret = TAKE_PTR(path);
        return 0;
}

int query_path(Context *c, const char *text, char **ret) {
        size_t digits = strspn(text, "0123456789");

        if (digits > 0 && text[digits] == '\0')
                return find_number(c, text, ret);

        /* Listeners without a name have the empty one. */
        if (*text == '\0')
                return message_error(-EINVAL, _("There is no listener \"%s\"; \"list\" shows all."), text);
        if (*text != '/')
                return find_name(c, text, ret);
        if (!sd_bus_object_path_is_valid(text) ||
            strncmp(text, LISTENER_PREFIX "/", strlen(LISTENER_PREFIX "/")) != 0)
                return message_error(-EINVAL, _("\"%s\" is not the path of a listener; these are %s/N."),
                                     text, LISTENER_PREFIX);

        *ret = strdup(text);
        return *ret ? 0 : message_oom();
}

/* ------------------------------------------------------------------------------------------ the service */

const Field service_limits[] = {
        FIELD("MaxListeners", "maxListeners", 'u', ServiceStatus, max_listeners),
        FIELD("MaxListenersPerUser", "maxListenersPerUser", 'u', ServiceStatus, max_listeners_per_user),
        FIELD("MaxChannels", "maxChannels", 'u', ServiceStatus, max_channels),
        FIELD("MaxChannelsPerUser", "maxChannelsPerUser", 'u', ServiceStatus, max_channels_per_user),
        FIELD("MaxPendingRequestsPerUser",
              "maxPendingRequestsPerUser",
              'u',
              ServiceStatus,
              max_pending_requests_per_user),
        FIELD("MaxUnacknowledged", "maxUnacknowledged", 'u', ServiceStatus, max_unacknowledged),
        FIELD("MaxUnacknowledgedPerClient",
              "maxUnacknowledgedPerClient",
              'u',
              ServiceStatus,
              max_unacknowledged_per_client),
        FIELD("IdleTimeoutUSec", "idleTimeoutUSec", 't', ServiceStatus, idle_timeout_usec),
        FIELD("AllowSocketDelivery", "allowSocketDelivery", 'b', ServiceStatus, allow_socket_delivery),
        FIELD("RequireContainment", "requireContainment", 'b', ServiceStatus, require_containment),
};

const size_t n_service_limits = ELEMENTS(service_limits);

static int read_ports(sd_bus_message *m, json_object *array) {
        uint16_t first, last;
        char range[16];
        int r;

        r = sd_bus_message_enter_container(m, 'v', "a(qq)");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "(qq)");
        while (r >= 0 && (r = sd_bus_message_read(m, "(qq)", &first, &last)) > 0) {
                (void) snprintf(range, sizeof(range), first == last ? "%u" : "%u-%u", first, last);
                r = json_append(array, json_object_new_string(range));
        }

        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_addresses(sd_bus_message *m, json_object *array) {
        const char *s;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read_basic(m, 's', &s)) > 0)
                r = json_append(array, json_object_new_string(s));

        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_service_property(sd_bus_message *m, const char *key, const char *contents, void *userdata) {
        static const Field constants[] = {
                FIELD("Version", NULL, 's', ServiceStatus, version),
                FIELD("Contained", NULL, 'b', ServiceStatus, contained),
        };
        ServiceStatus *s = userdata;

        if (streq(key, "Version") || streq(key, "Contained"))
                return field_read(m, key, contents, constants, ELEMENTS(constants), s);
        if (streq(key, "AllowedPorts") && streq(contents, "a(qq)"))
                return read_ports(m, s->allowed_ports);
        if (streq(key, "AllowedAddresses") && streq(contents, "as"))
                return read_addresses(m, s->allowed_addresses);

        return field_read(m, key, contents, service_limits, n_service_limits, s);
}

/* The bus may not know all of it. */
static void add_credentials(Context *c, ServiceStatus *s) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        const char *owner;

        if (sd_bus_get_name_creds(c->bus, BUS_NAME,
                                  SD_BUS_CREDS_PID | SD_BUS_CREDS_EUID | SD_BUS_CREDS_UNIQUE_NAME,
                                  &creds) < 0)
                return;

        (void) sd_bus_creds_get_pid(creds, &s->pid);
        (void) sd_bus_creds_get_euid(creds, &s->uid);
        if (sd_bus_creds_get_unique_name(creds, &owner) >= 0)
                s->owner = strdup(owner);
}

int query_status(Context *c, ServiceStatus *ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(service_status_done) ServiceStatus s = { .uid = (uid_t) -1 };
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        s.allowed_ports = json_object_new_array();
        s.allowed_addresses = json_object_new_array();
        if (!s.allowed_ports || !s.allowed_addresses)
                return message_oom();

        r = sd_bus_call_method(c->bus, BUS_NAME, MANAGER_PATH, "org.freedesktop.DBus.Properties", "GetAll",
                               &error, &reply, "s", MANAGER_INTERFACE);
        if (r >= 0)
                r = field_read_dict(reply, read_service_property, &s);
        if (r < 0)
                return client_error(c, r, &error, _("Failed to get the properties of the service"));

        add_credentials(c, &s);
        *ret = TAKE(s, (ServiceStatus) {});
        return 0;
}

void service_status_done(ServiceStatus *s) {
        free(TAKE_PTR(s->version));
        free(TAKE_PTR(s->owner));
        json_object_put(TAKE_PTR(s->allowed_ports));
        json_object_put(TAKE_PTR(s->allowed_addresses));
}
