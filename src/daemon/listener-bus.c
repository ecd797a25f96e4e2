/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/bus-error.h"
#include "daemon/call-bus.h"
#include "daemon/client.h"
#include "daemon/descriptor-reply-bus.h"
#include "daemon/listener-bus.h"
#include "daemon/manager.h"
#include "daemon/options.h"

/* At the end of the file. */
static const sd_bus_vtable *get_listener_vtable(void);

/* Shorter than the 25 s after which most D-Bus libraries give a call up. */
#define ACCEPT_TIMEOUT_MAX_MS UINT32_C(20000)

/* What a caller wants to do with a listener. */
typedef enum Access {
        ACCESS_USE,    /* its owner's business */
        ACCESS_MANAGE, /* see it, close it: an administrator's too */
} Access;

static bool client_owns(const Client *client, const Listener *l) {
        return l->owner == client || (l->options->persistent && client->uid == l->uid);
}

static bool call_may(const Call *call, const Listener *l, Access access) {
        if (client_owns(call->client, l))
                return true;

        return access == ACCESS_MANAGE && (call->client->uid == 0 || call->authorized);
}

static Listener *find_listener(Manager *m, const char *path) {
        const char *number;
        uint64_t id;
        char *end;

        number = strrchr(path, '/') + 1;
        if (number - path != strlen(LISTENER_PREFIX) + 1 || *number < '1' || *number > '9')
                return NULL;

        errno = 0;
        id = strtoull(number, &end, 10);
        if (errno != 0 || *end != '\0')
                return NULL;

        return manager_find_listener(m, id);
}

/* Whoever wants to manage a listener that is not its own needs an administrator's authorization. */
static void need_manage(Call *call, CallNeed *need, const char *message, bool may_ask) {
        Listener *l;

        l = find_listener(call->manager, sd_bus_message_get_path(call->message));
        if (!l || client_owns(call->client, l))
                return;

        need->question.action = ACTION_MANAGE;
        need->question.may_ask =
                may_ask && sd_bus_message_get_allow_interactive_authorization(call->message) > 0;
        (void) snprintf(need->port, sizeof(need->port), "%u", address_get_port(&l->address));
        polkit_question_add(&need->question, "port", need->port);
        polkit_question_add(&need->question, "address", address_format(&l->address, need->address));
        /* The listener may be gone before it is this question's turn. */
        (void) snprintf(need->name, sizeof(need->name), "%s", l->options->name);
        polkit_question_add(&need->question, "name", need->name);
        polkit_question_add(&need->question, "polkit.message", message);
        polkit_question_add(&need->question, "polkit.gettext_domain", GETTEXT_PACKAGE);
}

/* The listener that a call is about, if the caller may do that with it. It is looked up by its path anew each
 * time: it may have ended since the call came in. */
static int call_get_listener(Call *call, Access access, Listener **ret, sd_bus_error *error) {
        const char *path = sd_bus_message_get_path(call->message);
        Listener *l;

        l = find_listener(call->manager, path);
        if (!l) {
                (void) sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "There is no listener %s", path);
                return -ENOENT;
        }
        if (!call_may(call, l, access)) {
                (void) bus_error_from_errno(error, -EACCES, "The listener %s belongs to somebody else", path);
                return -EACCES;
        }

        *ret = l;
        return 0;
}

static int set_wrong_delivery_error(const Listener *l, const char *member, sd_bus_error *error) {
        return sd_bus_error_setf(error, ERROR_WRONG_DELIVERY, "%s is not for the listener %s, whose delivery is \"%s\"",
                                 member, l->path, l->options->delivery);
}

static void need_close(Call *call, CallNeed *need) {
        need_manage(call, need,
                    N_("Authentication is required to close another user's listener on port $(port)."),
                    true);
}

static int act_close(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_MANAGE, &l, error);
        if (r < 0)
                return r;

        listener_close(l, client_owns(call->client, l) ? LISTENER_END_OWNER : LISTENER_END_ADMINISTRATOR);
        return sd_bus_reply_method_return(call->message, NULL);
}

/* A method gets what find_object() found, a listener; but it has to look it up again when it acts. */
static CallQueue *get_calls(sd_bus_message *m) {
        return sd_bus_slot_get_userdata(sd_bus_get_current_slot(sd_bus_message_get_bus(m)));
}

static int method_close(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .need = need_close, .act = act_close };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_adopt(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        if (l->owner)
                return sd_bus_error_setf(error, ERROR_HAS_OWNER, "The listener %s has an owner, %s",
                                         l->path, l->owner->name);

        r = sd_bus_reply_method_return(call->message, NULL);
        if (r < 0)
                return r;

        client_own(call->client, l);
        return 0;
}

static int method_adopt(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_adopt };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_pause(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;
        if (!listener_accepts(l))
                return set_wrong_delivery_error(l, "Pause", error);

        listener_pause(l);
        return sd_bus_reply_method_return(call->message, NULL);
}

static int method_pause(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_pause };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_resume(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;
        if (!listener_accepts(l))
                return set_wrong_delivery_error(l, "Resume", error);

        r = sd_bus_reply_method_return(call->message, NULL);
        if (r < 0)
                return r;

        listener_resume(l);
        return 0;
}

static int method_resume(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_resume };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_acknowledge(Call *call, sd_bus_error *error) {
        uint64_t serial;
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = sd_bus_message_read_basic(call->message, 't', &serial);
        if (r < 0)
                return r;

        r = listener_acknowledge(l, serial);
        if (r == -EOPNOTSUPP)
                return sd_bus_error_setf(error, ERROR_WRONG_DELIVERY,
                                         "The listener %s was not made with the option acknowledge", l->path);
        if (r == -ERANGE)
                return bus_error_from_errno(error, r,
                                            "Argument serial is %llu; no connection with that serial was sent",
                                            (unsigned long long) serial);
        if (r < 0)
                return r;

        return sd_bus_reply_method_return(call->message, NULL);
}

static int method_acknowledge(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_acknowledge };

        return call_start(get_calls(m), m, &method, NULL);
}

static int act_accept(Call *call, sd_bus_error *error) {
        uint32_t maximum, timeout_ms;
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = sd_bus_message_read(call->message, "uu", &maximum, &timeout_ms);
        if (r < 0)
                return r;
        if (maximum == 0)
                return bus_error_from_errno(error, -EINVAL, "Argument maximum is 0");
        if (timeout_ms > ACCEPT_TIMEOUT_MAX_MS)
                return bus_error_from_errno(error, -EINVAL, "Argument timeoutMs is %u; %u is the most",
                                            timeout_ms, ACCEPT_TIMEOUT_MAX_MS);

        r = listener_accept(l, call->client->outbox, call->message, maximum, timeout_ms);
        if (r == -EOPNOTSUPP)
                return set_wrong_delivery_error(l, "Accept", error);
        if (r == -EDQUOT)
                return bus_error_from_errno(error, r, "Too many calls of Accept wait for the listener %s", l->path);

        return r;
}

static int method_accept(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_accept };

        return call_start(get_calls(m), m, &method, NULL);
}

/* What OpenChannel and TakeSocket have in common: they work once. */
static int set_descriptor_error(Call *call, const Listener *l, int r, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(call->message);

        if (r == -EOPNOTSUPP)
                return set_wrong_delivery_error(l, member, error);
        if (r == -EALREADY)
                return sd_bus_error_setf(error, ERROR_ALREADY_TAKEN, "%s was called before for the listener %s",
                                         member, l->path);
        return r;
}

static int get_channel(Call *call, sd_bus_error *error) {
        const Limits *limits = &call->manager->limits;
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = manager_open_channel(call->manager, l);
        if (r == -EDQUOT)
                return call_set_limit_error(call, "MaxChannelsPerUser", limits->channels_per_user,
                                            "The user has as many channels as it may", error);
        if (r == -ENOSPC)
                return call_set_limit_error(call, "MaxChannels", limits->channels,
                                            "The service has as many channels as it may", error);

        return r < 0 ? set_descriptor_error(call, l, r, error) : r;
}

static void on_channel_sent(Call *call) {
        Listener *l;

        l = find_listener(call->manager, sd_bus_message_get_path(call->message));
        if (l)
                listener_go_on(l);
}

/* It did not get as far as the client. */
static void on_descriptor_failed(Call *call) {
        Listener *l;

        l = find_listener(call->manager, sd_bus_message_get_path(call->message));
        if (l)
                manager_take_back(l);
}

/* Denied at once, even if the caller may not be sent anything yet. */
static int act_open_channel(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        return descriptor_reply_start(call, get_channel, on_channel_sent, on_descriptor_failed);
}

static int method_open_channel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_open_channel };

        return call_start(get_calls(m), m, &method, NULL);
}

static int get_socket(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        r = listener_take_socket(l);
        return r < 0 ? set_descriptor_error(call, l, r, error) : r;
}

static int act_take_socket(Call *call, sd_bus_error *error) {
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_USE, &l, error);
        if (r < 0)
                return r;

        return descriptor_reply_start(call, get_socket, NULL, on_descriptor_failed);
}

static int method_take_socket(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod method = { .act = act_take_socket };

        return call_start(get_calls(m), m, &method, NULL);
}

static int property_get_address(sd_bus *bus, const char *path, const char *interface, const char *property,
                                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        char address[ADDRESS_STRING_MAX];
        Listener *l = userdata;

        return sd_bus_message_append_basic(reply, 's', address_format(&l->address, address));
}

static int property_get_port(sd_bus *bus, const char *path, const char *interface, const char *property,
                             sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Listener *l = userdata;

        return sd_bus_message_append(reply, "q", address_get_port(&l->address));
}

static int property_get_option(sd_bus *bus, const char *path, const char *interface, const char *property,
                               sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const ListenOptions *o = ((Listener *) userdata)->options;

        if (streq(property, "Persistent"))
                return sd_bus_message_append(reply, "b", o->persistent);
        if (streq(property, "BinaryType"))
                return sd_bus_message_append_basic(reply, 's', o->binary_type);
        if (streq(property, "Delivery"))
                return sd_bus_message_append_basic(reply, 's', o->delivery);

        return sd_bus_message_append_basic(reply, 's', o->name);
}

static int property_get_owner(sd_bus *bus, const char *path, const char *interface, const char *property,
                              sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Listener *l = userdata;

        return sd_bus_message_append_basic(reply, 's', l->owner ? l->owner->name : "");
}

static int property_get_paused(sd_bus *bus, const char *path, const char *interface, const char *property,
                               sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Listener *l = userdata;

        return sd_bus_message_append(reply, "b", l->paused);
}

static const sd_bus_vtable *vtable_find_property(const char *name) {
        for (const sd_bus_vtable *v = get_listener_vtable(); v->type != _SD_BUS_VTABLE_END; v++)
                if (v->type == _SD_BUS_VTABLE_PROPERTY && (!name || streq(v->x.property.member, name)))
                        return v;

        return NULL;
}

/* Appends one property of the vtable as a variant. */
static int append_property(sd_bus *bus, sd_bus_message *m, const sd_bus_vtable *v, Listener *l,
                           sd_bus_error *error) {
        int r;

        r = sd_bus_message_open_container(m, 'v', v->x.property.signature);
        if (r < 0)
                return r;

        if (v->x.property.get)
                r = v->x.property.get(bus, l->path, LISTENER_INTERFACE, v->x.property.member, m, l, error);
        else
                r = sd_bus_message_append_basic(m, v->x.property.signature[0], (char *) l + v->x.property.offset);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(m);
}

int listener_bus_append_properties(sd_bus *bus, sd_bus_message *m, Listener *l, sd_bus_error *error) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        for (const sd_bus_vtable *v = get_listener_vtable(); v->type != _SD_BUS_VTABLE_END; v++) {
                if (v->type != _SD_BUS_VTABLE_PROPERTY)
                        continue;

                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r < 0)
                        return r;
                r = sd_bus_message_append_basic(m, 's', v->x.property.member);
                if (r < 0)
                        return r;
                r = append_property(bus, m, v, l, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_close_container(m);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(m);
}

/* Nobody is asked for a password just because a program looks at a property. */
static void need_get(Call *call, CallNeed *need) {
        need_manage(call, need,
                    N_("Authentication is required to see another user's listener on port $(port)."),
                    false);
}

static int act_get(Call *call, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *interface, *name;
        const sd_bus_vtable *v;
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_MANAGE, &l, error);
        if (r < 0)
                return r;

        r = sd_bus_message_read(call->message, "ss", &interface, &name);
        if (r < 0)
                return r;

        v = vtable_find_property(name);
        if (!v)
                return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_PROPERTY, "A listener has no property of that name");

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r < 0)
                return r;
        r = append_property(call->queue->bus, reply, v, l, error);
        if (r < 0)
                return r;

        return sd_bus_send(call->queue->bus, reply, NULL);
}

static int act_get_all(Call *call, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Listener *l;
        int r;

        r = call_get_listener(call, ACCESS_MANAGE, &l, error);
        if (r < 0)
                return r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r < 0)
                return r;
        r = listener_bus_append_properties(call->queue->bus, reply, l, error);
        if (r < 0)
                return r;

        return sd_bus_send(call->queue->bus, reply, NULL);
}

bool listener_bus_may_list(const Call *call, const Listener *l) {
        return call_may(call, l, ACCESS_MANAGE);
}

void listener_bus_need_list(Call *call, CallNeed *need) {
        for (const Listener *l = call->manager->listeners; l; l = l->hh.next)
                if (!client_owns(call->client, l)) {
                        need->question.action = ACTION_MANAGE;
                        need->optional = true;
                        return;
                }
}

/* The node above the listeners. It shows each caller its own, and an administrator all of them, so sd-bus cannot do it: the
 * caller has to be identified first. */
static int act_introspect_prefix(Call *call, sd_bus_error *error) {
        _cleanup_free_ char *xml = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&xml, &size);
        if (!f)
                return -errno;

        (void) fputs("<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n"
                     "\"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n", f);
        for (Listener *l = call->manager->listeners; l; l = l->hh.next)
                if (listener_bus_may_list(call, l))
                        (void) fprintf(f, " <node name=\"%llu\"/>\n", (unsigned long long) l->id);
        (void) fputs("</node>\n", f);
        if (fclose(f) == EOF)
                return -ENOMEM;

        return sd_bus_reply_method_return(call->message, "s", xml);
}

/* Sees every call of a listener before sd-bus looks for the method. sd-bus would say of a listener that is gone
 * that it has no such method; and it would answer for properties at once and to everybody, but here the caller
 * has to be identified first, and that takes a question to the bus. */
static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *interface, *signature, *path = sd_bus_message_get_path(m);
        static const CallMethod get = { .need = need_get, .act = act_get };
        static const CallMethod get_all = { .need = need_get, .act = act_get_all };
        static const CallMethod introspect = { .need = listener_bus_need_list, .act = act_introspect_prefix };
        CallQueue *calls = userdata;
        const CallMethod *method;
        int r;

        if (streq(path, LISTENER_PREFIX)) {
                if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Introspectable", "Introspect") <= 0)
                        return 0;
                return call_start(calls, m, &introspect, NULL);
        }
        if (!find_listener(calls->manager, path))
                return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "There is no listener %s", path);

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get") > 0) {
                method = &get;
                signature = "ss";
        } else if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "GetAll") > 0) {
                method = &get_all;
                signature = "s";
        } else
                return 0;

        /* sd-bus would read what it needs, overlook the rest, and answer without asking who the caller is. */
        if (sd_bus_message_has_signature(m, signature) <= 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "The arguments must be of type %s", signature);

        r = sd_bus_message_read_basic(m, 's', &interface);
        if (r < 0)
                return r;
        r = sd_bus_message_rewind(m, true);
        if (r < 0)
                return r;

        /* An empty name stands for any interface. */
        if (*interface != '\0' && !streq(interface, LISTENER_INTERFACE))
                return 0;

        return call_start(calls, m, method, NULL);
}

/* sd-bus asks this before it calls one of the methods. */
static int find_object(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                       sd_bus_error *error) {
        CallQueue *calls = userdata;
        Listener *l;

        l = find_listener(calls->manager, path);
        if (!l)
                return 0;

        *ret_found = l;
        return 1;
}

int listener_bus_add(sd_bus *bus, CallQueue *calls, sd_bus_slot **ret_vtable, sd_bus_slot **ret_calls) {
        int r;

        r = sd_bus_add_fallback(bus, ret_calls, LISTENER_PREFIX, on_call, calls);
        if (r < 0)
                return r;

        return sd_bus_add_fallback_vtable(bus, ret_vtable, LISTENER_PREFIX, LISTENER_INTERFACE,
                                          get_listener_vtable(), find_object, calls);
}

static void emit_to_owner(sd_bus *bus, const Listener *l, const char *member, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list arguments;
        int r;

        if (!l->owner || !sd_bus_is_open(bus))
                return;

        r = sd_bus_message_new_signal(bus, &m, MANAGER_PATH, MANAGER_INTERFACE, member);
        if (r >= 0)
                r = sd_bus_message_set_destination(m, l->owner->name);
        if (r >= 0) {
                va_start(arguments, types);
                r = sd_bus_message_appendv(m, types, arguments);
                va_end(arguments);
        }
        if (r >= 0)
                r = sd_bus_send(bus, m, NULL);
        if (r < 0)
                log_event(LOG_WARNING, NULL,
                          &(LogFields) {
                                  .listener = l->path,
                                  .owner = l->owner->name,
                                  .has_owner_uid = true,
                                  .owner_uid = l->uid,
                          },
                          "%s: cannot send %s to %s: %s", l->path, member, l->owner->name, strerror(-r));
}

void listener_bus_emit_error(sd_bus *bus, const Listener *l, const ListenerError *error) {
        emit_to_owner(bus, l, "Error", "ossuu", l->path, error->message, error->file, error->line, UINT32_C(0));
}

void listener_bus_emit_closed(sd_bus *bus, const Listener *l, const char *reason) {
        emit_to_owner(bus, l, "Closed", "os", l->path, reason);
}

static const sd_bus_vtable listener_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("LocalAddress", "s", property_get_address, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LocalPort", "q", property_get_port, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Backlog", "u", NULL, offsetof(Listener, backlog), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("BinaryType", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Delivery", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Name", "s", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Persistent", "b", property_get_option, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("OwnerUID", "u", NULL, offsetof(Listener, uid), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Owner", "s", property_get_owner, 0, 0),
        SD_BUS_PROPERTY("Paused", "b", property_get_paused, 0, 0),
        SD_BUS_PROPERTY("Accepted", "t", NULL, offsetof(Listener, accepted), 0),
        SD_BUS_PROPERTY("Delivered", "t", NULL, offsetof(Listener, delivered), 0),
        SD_BUS_PROPERTY("Refused", "t", NULL, offsetof(Listener, refused), 0),
        SD_BUS_PROPERTY("Lost", "t", NULL, offsetof(Listener, lost), 0),

        SD_BUS_METHOD("Close", NULL, NULL, method_close, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Adopt", NULL, NULL, method_adopt, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Pause", NULL, NULL, method_pause, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Resume", NULL, NULL, method_resume, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Acknowledge", SD_BUS_ARGS("t", serial), SD_BUS_NO_RESULT, method_acknowledge,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Accept", SD_BUS_ARGS("u", maximum, "u", timeoutMs),
                                SD_BUS_RESULT("a(hsqa{sv})", connections), method_accept,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenChannel", SD_BUS_NO_ARGS, SD_BUS_RESULT("h", channel), method_open_channel,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("TakeSocket", SD_BUS_NO_ARGS, SD_BUS_RESULT("h", socket), method_take_socket,
                                SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END
};

static const sd_bus_vtable *get_listener_vtable(void) {
        return listener_vtable;
}
