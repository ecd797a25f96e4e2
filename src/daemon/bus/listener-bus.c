/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/names.h"
#include "daemon/bus/access.h"
#include "daemon/bus/call.h"
#include "daemon/bus/listener-bus.h"
#include "daemon/bus/listener-methods.h"
#include "daemon/bus/listener-properties.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/error-reply.h"

/* No signal is longer. */
#define CLOSED_SIZE UINT64_C(512)
#define ERROR_SIZE UINT64_C(1024)

/* The node above the listeners has the listeners that the caller may see. sd-bus cannot answer this, because
 * the caller has to be identified first. */
static int act_introspect_prefix(Call *call) {
        _cleanup_free_ char *xml = NULL;
        size_t size;
        FILE *f;
        int r;

        f = open_memstream(&xml, &size);
        if (!f)
                return -errno;

        (void) fputs("<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n"
                     "\"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
                     f);
        for (Listener *l = call->manager->listeners; l; l = l->hh.next)
                if (access_may(call, l, ACCESS_SEE))
                        (void) fprintf(f, " <node name=\"%llu\"/>\n", (unsigned long long) l->id);
        (void) fputs("</node>\n", f);
        if (fclose(f) == EOF || !xml)
                return -ENOMEM;

        r = unread_bus_admit(&call->queue->unread, call->message, call->client->uid, size, &call->error);
        if (r < 0)
                return r;

        return sd_bus_reply_method_return(call->message, "s", xml);
}

/* Handles every call of a listener before sd-bus looks for the method. sd-bus itself answers Introspect, and
 * calls of unknown members or with wrong arguments: in the same way for each path, so that the answer does
 * not show which listeners exist. */
static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod introspect = { .need = access_need_list, .act = act_introspect_prefix };
        const char *path = sd_bus_message_get_path(m);
        CallQueue *calls = userdata;

        if (streq(path, LISTENER_PREFIX)) {
                if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Introspectable", "Introspect") <=
                    0)
                        return 0;
                return call_start(calls, m, &introspect, NULL);
        }

        if (!access_is_listener_path(path))
                return error_reply(m, ERROR_NO_SUCH_LISTENER, path);

        return listener_properties_intercept(calls, m);
}

/* Called by sd-bus before it calls a method. The listener is looked up when the caller is identified. */
static int find_object(sd_bus *bus,
                       const char *path,
                       const char *interface,
                       void *userdata,
                       void **ret_found,
                       sd_bus_error *error) {
        if (!access_is_listener_path(path))
                return 0;

        *ret_found = userdata;
        return 1;
}

int listener_bus_init(ListenerBus *objects, sd_bus *bus, CallQueue *calls) {
        int r;

        r = sd_bus_add_fallback(bus, &objects->calls, LISTENER_PREFIX, on_call, calls);
        if (r < 0)
                return r;

        r = listener_properties_add(bus, calls, find_object, &objects->properties);
        if (r < 0)
                return r;

        return listener_methods_add(bus, calls, find_object, &objects->methods);
}

void listener_bus_done(ListenerBus *objects) {
        objects->methods = sd_bus_slot_unref(objects->methods);
        objects->properties = sd_bus_slot_unref(objects->properties);
        objects->calls = sd_bus_slot_unref(objects->calls);
}

static bool has_owner_on_bus(const CallQueue *calls, const Listener *l) {
        return l->owner && sd_bus_is_open(calls->bus);
}

static void emit_to_owner(sd_bus *bus, const Listener *l, const char *member, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list arguments;
        int r;

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
                          "Failed to send %s of %s to %s: %s", member, l->path, l->owner->name, strerror(-r));
}

/* Peers can cause any number of errors, so that one is not sent to a client that does not read. The log and
 * the counters have it in any case. */
void listener_bus_emit_error(CallQueue *calls, const Listener *l, const ListenerError *error) {
        if (!has_owner_on_bus(calls, l))
                return;

        if (!unread_bus_admit_signal(&calls->unread, l->owner->name, ERROR_SIZE)) {
                log_debug("Not sending Error of %s to %s, which has too many unread messages", l->path,
                          l->owner->name);
                return;
        }

        emit_to_owner(calls->bus, l, "Error", "ossuu", l->path, error->message, error->file, error->line,
                      UINT32_C(0));
}

/* Sent in any case: there is one for each listener. */
void listener_bus_emit_closed(CallQueue *calls, const Listener *l, const char *reason) {
        if (!has_owner_on_bus(calls, l))
                return;

        unread_bus_count_signal(&calls->unread, l->owner->name, CLOSED_SIZE);
        emit_to_owner(calls->bus, l, "Closed", "os", l->path, reason);
}
