/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/macros.h"
#include "base/names.h"
#include "daemon/bus/access.h"
#include "daemon/bus/call.h"
#include "daemon/bus/listener-properties.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/error-reply.h"
#include "daemon/policy/options.h"

/* At the end of the file. */
static const sd_bus_vtable *get_property_vtable(void);

static int property_get_address(sd_bus *bus,
                                const char *path,
                                const char *interface,
                                const char *property,
                                sd_bus_message *reply,
                                void *userdata,
                                sd_bus_error *error) {
        char address[ADDRESS_STRING_MAX];

        return sd_bus_message_append_basic(reply, 's', listener_format_address(userdata, address));
}

static int property_get_port(sd_bus *bus,
                             const char *path,
                             const char *interface,
                             const char *property,
                             sd_bus_message *reply,
                             void *userdata,
                             sd_bus_error *error) {
        Listener *l = userdata;

        return sd_bus_message_append(reply, "q", address_get_port(&l->address));
}

static int property_get_option(sd_bus *bus,
                               const char *path,
                               const char *interface,
                               const char *property,
                               sd_bus_message *reply,
                               void *userdata,
                               sd_bus_error *error) {
        const ListenOptions *o = ((Listener *) userdata)->options;

        if (streq(property, "Persistent"))
                return sd_bus_message_append(reply, "b", o->persistent);
        if (streq(property, "BinaryType"))
                return sd_bus_message_append_basic(reply, 's', o->binary_type);
        if (streq(property, "Delivery"))
                return sd_bus_message_append_basic(reply, 's', delivery_kind_to_string(o->delivery));

        if (streq(property, "Interface"))
                return sd_bus_message_append_basic(reply, 's', o->interface ?: "");

        return sd_bus_message_append_basic(reply, 's', o->name);
}

static int property_get_owner(sd_bus *bus,
                              const char *path,
                              const char *interface,
                              const char *property,
                              sd_bus_message *reply,
                              void *userdata,
                              sd_bus_error *error) {
        Listener *l = userdata;

        return sd_bus_message_append_basic(reply, 's', l->owner ? l->owner->name : "");
}

static int property_get_paused(sd_bus *bus,
                               const char *path,
                               const char *interface,
                               const char *property,
                               sd_bus_message *reply,
                               void *userdata,
                               sd_bus_error *error) {
        Listener *l = userdata;

        return sd_bus_message_append(reply, "b", l->paused);
}

static const sd_bus_vtable *vtable_find_property(const char *name) {
        for (const sd_bus_vtable *v = get_property_vtable(); v->type != _SD_BUS_VTABLE_END; v++)
                if (v->type == _SD_BUS_VTABLE_PROPERTY && (!name || streq(v->x.property.member, name)))
                        return v;

        return NULL;
}

/* Appends one property of the vtable as a variant. */
static int append_property(sd_bus *bus, sd_bus_message *m, const sd_bus_vtable *v, Listener *l) {
        int r;

        r = sd_bus_message_open_container(m, 'v', v->x.property.signature);
        if (r < 0)
                return r;

        if (v->x.property.get)
                r = v->x.property.get(bus, l->path, LISTENER_INTERFACE, v->x.property.member, m, l, NULL);
        else
                r = sd_bus_message_append_basic(m, v->x.property.signature[0],
                                                (char *) l + v->x.property.offset);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(m);
}

int listener_properties_append(sd_bus *bus, sd_bus_message *m, Listener *l) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        for (const sd_bus_vtable *v = get_property_vtable(); v->type != _SD_BUS_VTABLE_END; v++) {
                if (v->type != _SD_BUS_VTABLE_PROPERTY)
                        continue;

                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r < 0)
                        return r;
                r = sd_bus_message_append_basic(m, 's', v->x.property.member);
                if (r < 0)
                        return r;
                r = append_property(bus, m, v, l);
                if (r < 0)
                        return r;
                r = sd_bus_message_close_container(m);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(m);
}

/* Reading a property never asks for a password. */
static void need_get(Call *call, CallNeed *need) {
        access_need_manage(call, need, ACCESS_SEE, NULL, false);
}

static int act_get(Call *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *interface, *name;
        const sd_bus_vtable *v;
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_SEE, &l);
        if (r < 0)
                return r;

        r = sd_bus_message_read(call->message, "ss", &interface, &name);
        if (r < 0)
                return r;

        v = vtable_find_property(name);
        assert(v); /* listener_properties_intercept() has refused other names */

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r < 0)
                return r;
        r = append_property(call->queue->bus, reply, v, l);
        if (r < 0)
                return r;

        return sd_bus_send(call->queue->bus, reply, NULL);
}

static int act_get_all(Call *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Listener *l;
        int r;

        r = access_find_permitted(call, ACCESS_SEE, &l);
        if (r < 0)
                return r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r < 0)
                return r;
        r = listener_properties_append(call->queue->bus, reply, l);
        if (r < 0)
                return r;

        return sd_bus_send(call->queue->bus, reply, NULL);
}

int listener_properties_intercept(CallQueue *calls, sd_bus_message *m) {
        static const CallMethod get = { .need = need_get, .act = act_get };
        static const CallMethod get_all = { .need = need_get, .act = act_get_all };
        const char *interface, *name, *signature;
        const CallMethod *method;
        int r;

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get") > 0) {
                method = &get;
                signature = "ss";
        } else if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "GetAll") > 0) {
                method = &get_all;
                signature = "s";
        } else
                return 0;

        /* sd-bus would ignore further arguments, and answer without identifying the caller. */
        if (sd_bus_message_has_signature(m, signature) <= 0)
                return error_reply(m, ERROR_WRONG_ARGUMENTS, signature);

        r = sd_bus_message_read_basic(m, 's', &interface);
        if (r >= 0 && method == &get)
                r = sd_bus_message_read_basic(m, 's', &name);
        if (r >= 0)
                r = sd_bus_message_rewind(m, true);
        if (r < 0)
                return r;

        /* The empty name means any interface. */
        if (*interface != '\0' && !streq(interface, LISTENER_INTERFACE))
                return 0;

        /* Refused before the caller is identified, because the call would be queued until then, with a name
         * of megabytes. */
        if (method == &get && !vtable_find_property(name))
                return error_reply(m, ERROR_UNKNOWN_PROPERTY);

        return call_start(calls, m, method, NULL);
}

int listener_properties_add(sd_bus *bus, CallQueue *calls, sd_bus_object_find_t find, sd_bus_slot **ret) {
        return sd_bus_add_fallback_vtable(bus, ret, LISTENER_PREFIX, LISTENER_INTERFACE,
                                          get_property_vtable(), find, calls);
}

static const sd_bus_vtable property_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("LocalAddress", "s", property_get_address, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LocalPort", "q", property_get_port, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Interface", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Backlog", "u", NULL, offsetof(Listener, backlog), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("BinaryType", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Delivery", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Name", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Persistent", "b", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("OwnerUID", "u", NULL, offsetof(Listener, uid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("OwnerPID", "u", NULL, offsetof(Listener, pid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Owner", "s", property_get_owner, 0, 0),
        SD_BUS_PROPERTY("Paused", "b", property_get_paused, 0, 0),
        SD_BUS_PROPERTY("Accepted", "t", NULL, offsetof(Listener, accepted), 0),
        SD_BUS_PROPERTY("Delivered", "t", NULL, offsetof(Listener, delivered), 0),
        SD_BUS_PROPERTY("Refused", "t", NULL, offsetof(Listener, refused), 0),
        SD_BUS_PROPERTY("Lost", "t", NULL, offsetof(Listener, lost), 0),

        SD_BUS_VTABLE_END
};

static const sd_bus_vtable *get_property_vtable(void) {
        return property_vtable;
}
