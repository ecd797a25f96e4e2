/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <systemd/sd-bus.h>

#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "ctl/cli/message.h"
#include "ctl/service/client.h"
#include "ctl/service/query-status.h"
#include "ctl/show/json.h"

static int read_ports(sd_bus_message *m, json_object *array) {
        uint16_t first, last;
        char range[16];
        int r;

        r = sd_bus_message_enter_container(m, 'a', "(qq)");
        while (r >= 0 && (r = sd_bus_message_read(m, "(qq)", &first, &last)) > 0) {
                (void) snprintf(range, sizeof(range), first == last ? "%u" : "%u-%u", first, last);
                r = json_append(array, json_object_new_string(range));
        }

        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_addresses(sd_bus_message *m, json_object *array) {
        const char *s;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read_basic(m, 's', &s)) > 0)
                r = json_append(array, json_object_new_string(s));

        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_version(sd_bus_message *m, ServiceStatus *s) {
        const char *version;
        int r;

        r = sd_bus_message_read_basic(m, 's', &version);
        if (r < 0)
                return r;

        free(s->version);
        s->version = strdup(version);
        return s->version ? 0 : -ENOMEM;
}

/* Reads the variant of one property; what is not known, or of another type, is passed over. */
static int read_property(sd_bus_message *m, const char *name, ServiceStatus *s) {
        const struct {
                const char *name;
                const char *type;
                void *to;
        } table[] = {
                { "Version", "s", NULL },
                { "MaxListeners", "u", &s->max_listeners },
                { "MaxListenersPerUser", "u", &s->max_listeners_per_user },
                { "MaxChannels", "u", &s->max_channels },
                { "MaxChannelsPerUser", "u", &s->max_channels_per_user },
                { "MaxPendingRequestsPerUser", "u", &s->max_pending_requests_per_user },
                { "MaxUnacknowledged", "u", &s->max_unacknowledged },
                { "MaxUnacknowledgedPerClient", "u", &s->max_unacknowledged_per_client },
                { "IdleTimeoutUSec", "t", &s->idle_timeout_usec },
                { "AllowSocketDelivery", "b", &s->allow_socket_delivery },
                { "AllowedPorts", "a(qq)", s->allowed_ports },
                { "AllowedAddresses", "as", s->allowed_addresses },
        };
        const char *contents;
        int r;

        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                if (!streq(table[i].name, name) || !streq(table[i].type, contents))
                        continue;

                r = sd_bus_message_enter_container(m, 'v', contents);
                if (r < 0)
                        return r;
                if (streq(contents, "s"))
                        r = read_version(m, s);
                else if (streq(contents, "as"))
                        r = read_addresses(m, table[i].to);
                else if (streq(contents, "a(qq)"))
                        r = read_ports(m, table[i].to);
                else
                        r = sd_bus_message_read_basic(m, contents[0], table[i].to);
                return r < 0 ? r : sd_bus_message_exit_container(m);
        }

        return sd_bus_message_skip(m, "v");
}

static int read_status(sd_bus_message *m, ServiceStatus *s) {
        const char *name;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &name);
                if (r >= 0)
                        r = read_property(m, name, s);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Who it is, as the bus knows it. Nothing is missing if it does not. */
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
                r = read_status(reply, &s);
        if (r < 0)
                return client_error(c, r, &error, _("Failed to ask the service"));

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
