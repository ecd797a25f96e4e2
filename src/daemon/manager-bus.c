/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "base/log.h"
#include "base/macros.h"
#include "config.h"
#include "daemon/bus-error.h"
#include "daemon/call-bus.h"
#include "daemon/client.h"
#include "daemon/listener-bus.h"
#include "daemon/manager-bus.h"
#include "daemon/manager.h"
#include "daemon/names.h"
#include "daemon/options-bus.h"
#include "daemon/options.h"

struct ManagerBus {
        sd_event *event;
        sd_bus *bus;
        Manager *manager;
        CallQueue calls;

        sd_bus_slot *manager_vtable;
        sd_bus_slot *listener_vtable;
        sd_bus_slot *listener_calls;
        sd_bus_slot *name_owner_match;
        sd_bus_slot *name_request;
};

/* At the end of the file. */
static const sd_bus_vtable *get_manager_vtable(void);

DEFINE_CLEANUP(ManagerBus, manager_bus_free)

static void free_options(void *data) {
        (void) listen_options_free(data);
}

static int set_listen_error(Call *call, int r, const ListenOptions *o, sd_bus_error *error) {
        const Limits *limits = &call->manager->limits;
        char address[ADDRESS_STRING_MAX];

        if (r == MANAGER_E_LISTENERS)
                return bus_error_from_errno(error, -EDQUOT, "The service has as many listeners as it may; "
                                            "the limit MaxListeners is %u", limits->listeners);
        if (r == MANAGER_E_LISTENERS_PER_USER)
                return bus_error_from_errno(error, -EDQUOT, "User %u has as many listeners as it may; "
                                            "the limit MaxListenersPerUser is %u",
                                            (unsigned) call->client->uid, limits->listeners_per_user);

        (void) address_format(&o->address, address);

        switch (r) {

        case -EADDRINUSE:
                return bus_error_from_errno(error, r, "Port %i of %s is in use", o->port, address);

        case -EADDRNOTAVAIL:
                return bus_error_from_errno(error, r, "This host does not have the address %s", address);

        case -EAFNOSUPPORT:
                return bus_error_from_errno(error, r, "This host does not support addresses like %s", address);

        case -ENODEV:
                return bus_error_from_errno(error, r, "This host does not have the network interface %s",
                                            o->interface ?: "in the scope of localAddress");

        case -EACCES:
        case -EPERM:
                return bus_error_from_errno(error, r, "The service itself may not bind port %i of %s",
                                            o->port, address);

        default:
                return bus_error_from_errno(error, r, "Cannot listen on port %i of %s: %s",
                                            o->port, address, strerror(-r));
        }
}

static int act_listen(Call *call, sd_bus_error *error) {
        ListenOptions *o = call->data;
        Client *client = call->client;
        Listener *l;
        int r;

        r = manager_listen(call->manager, client, o, &l);
        if (r != 0)
                return set_listen_error(call, r, o, error);
        call->data = NULL; /* the listener's now */

        log_debug("%s of uid %u: port %u for %s", l->path, (unsigned) l->uid, address_get_port(&l->address),
                  client->name);

        /* The reply goes first: nothing about a listener is sent before its path is known. */
        r = sd_bus_reply_method_return(call->message, "o", l->path);
        if (r < 0) {
                listener_close(l, LISTENER_END_ERROR);
                return r;
        }

        client_own(client, l);
        return 0;
}

static int method_listen(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Manager *manager = userdata;
        ManagerBus *b = manager->userdata;
        _cleanup_free_ char *problem = NULL;
        ListenOptions *o;
        int r;

        r = listen_options_read(m, &o, &problem);
        if (r < 0)
                return bus_error_from_errno(error, r, "%s", problem ?: strerror(-r));

        return call_start(&b->calls, m, CALL_LISTEN, act_listen, o, free_options);
}

static int act_list_listeners(Call *call, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(reply, 'a', "(oa{sv})");
        if (r < 0)
                return r;

        for (Listener *l = call->manager->listeners; l; l = l->hh.next) {
                if (!listener_bus_may_list(call, l))
                        continue;

                r = sd_bus_message_open_container(reply, 'r', "oa{sv}");
                if (r < 0)
                        return r;
                r = sd_bus_message_append_basic(reply, 'o', l->path);
                if (r < 0)
                        return r;
                r = listener_bus_append_properties(call->queue->bus, reply, l, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_close_container(reply);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;

        return sd_bus_send(call->queue->bus, reply, NULL);
}

static int method_list_listeners(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Manager *manager = userdata;
        ManagerBus *b = manager->userdata;

        return call_start(&b->calls, m, CALL_ANYBODY, act_list_listeners, NULL, NULL);
}

static int property_get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                                sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append_basic(reply, 's', PROJECT_VERSION);
}

static void on_listener_error(Listener *l, const ListenerError *error, void *userdata) {
        ManagerBus *b = userdata;

        listener_bus_emit_error(b->bus, l, error);
}

static void on_listener_closed(Listener *l, ListenerEnd end, void *userdata) {
        ManagerBus *b = userdata;

        listener_bus_emit_closed(b->bus, l, listener_end_to_string(end));
        manager_forget_listener(b->manager, l);
}

static const ListenerEvents listener_events = {
        .error = on_listener_error,
        .closed = on_listener_closed,
};

/* Somebody has left the bus. The match covers everybody: one for each client would have to be added before
 * its call is acted on, and each would be one more for the bus to go through. */
static int on_name_gone(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        ManagerBus *b = userdata;
        const char *name, *sender = sd_bus_message_get_sender(m);
        Client *client;
        int r;

        /* Everybody may send signals, and sd-bus cannot tell whether a unique name owns the well-known one of a
         * match: it lets them all pass. */
        if (!sender || !streq(sender, "org.freedesktop.DBus"))
                return 0;

        r = sd_bus_message_read_basic(m, 's', &name);
        if (r < 0)
                return r;

        client = manager_find_client(b->manager, name);
        if (!client)
                return 0;

        call_queue_cancel(&b->calls, name);
        manager_remove_client(b->manager, client);
        return 0;
}

static int on_match_added(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        ManagerBus *b = userdata;

        if (!sd_bus_message_is_method_error(m, NULL))
                return 0;

        log_error("The bus does not tell who leaves: %s", sd_bus_message_get_error(m)->message);
        return sd_event_exit(b->event, -EIO);
}

static int on_name_requested(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        ManagerBus *b = userdata;
        uint32_t result = 0;

        if (sd_bus_message_is_method_error(m, NULL)) {
                log_error("Cannot take the name " BUS_NAME ": %s", sd_bus_message_get_error(m)->message);
                return sd_event_exit(b->event, -EACCES);
        }

        (void) sd_bus_message_read_basic(m, 'u', &result);
        if (result != 1 /* primary owner, says the D-Bus specification, "RequestName" */) {
                log_error("The name " BUS_NAME " is taken, is another instance running?");
                return sd_event_exit(b->event, -EEXIST);
        }

        log_debug("Ready as " BUS_NAME);
        (void) sd_notify(false, "READY=1");
        return 0;
}

static int manager_bus_connect(ManagerBus *b) {
        int r;

        r = sd_bus_add_object_vtable(b->bus, &b->manager_vtable, MANAGER_PATH, MANAGER_INTERFACE,
                                     get_manager_vtable(), b->manager);
        if (r < 0)
                return r;

        r = listener_bus_add(b->bus, &b->calls, &b->listener_vtable, &b->listener_calls);
        if (r < 0)
                return r;

        /* Before the name, so that nobody can have called us and left unnoticed. */
        r = sd_bus_add_match_async(b->bus, &b->name_owner_match,
                                   "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                   "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                                   on_name_gone, on_match_added, b);
        if (r < 0)
                return r;

        return sd_bus_request_name_async(b->bus, &b->name_request, BUS_NAME, 0, on_name_requested, b);
}

int manager_bus_new(sd_event *event, sd_bus *bus, ManagerBus **ret) {
        _cleanup_(manager_bus_freep) ManagerBus *b = NULL;
        int r;

        b = calloc(1, sizeof(*b));
        if (!b)
                return -ENOMEM;

        b->event = sd_event_ref(event);
        b->bus = sd_bus_ref(bus);

        r = manager_new(event, bus, &listener_events, b, &b->manager);
        if (r < 0)
                return r;
        call_queue_init(&b->calls, bus, b->manager);

        r = manager_bus_connect(b);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(b);
        return 0;
}

static void manager_bus_withdraw(ManagerBus *b) {
        call_queue_done(&b->calls);
        b->manager_vtable = sd_bus_slot_unref(b->manager_vtable);
        b->listener_vtable = sd_bus_slot_unref(b->listener_vtable);
        b->listener_calls = sd_bus_slot_unref(b->listener_calls);
        b->name_owner_match = sd_bus_slot_unref(b->name_owner_match);
        b->name_request = sd_bus_slot_unref(b->name_request);
}

static uint64_t now_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * UINT64_C(1000000) + (uint64_t) t.tv_nsec / 1000;
}

void manager_bus_shut_down(ManagerBus *b, uint64_t timeout_usec) {
        uint64_t queued, now, end = now_usec() + timeout_usec;

        manager_close_all(b->manager);
        manager_bus_withdraw(b);

        /* sd_bus_flush() would wait without end for a bus that does not read. */
        while (sd_bus_get_n_queued_write(b->bus, &queued) >= 0 && queued > 0 && (now = now_usec()) < end) {
                int r;

                r = sd_bus_process(b->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(b->bus, end - now);
                if (r < 0)
                        break;
        }
}

ManagerBus *manager_bus_free(ManagerBus *b) {
        if (!b)
                return NULL;

        if (b->calls.manager)
                manager_bus_withdraw(b);
        b->manager = manager_free(b->manager);
        sd_bus_unref(b->bus);
        sd_event_unref(b->event);
        free(b);
        return NULL;
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Version", "s", property_get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MaxListeners", "u", NULL, offsetof(Manager, limits.listeners),
                        SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MaxListenersPerUser", "u", NULL, offsetof(Manager, limits.listeners_per_user),
                        SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MaxPendingRequestsPerUser", "u", NULL,
                        offsetof(Manager, limits.pending_requests_per_user), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MaxUnacknowledged", "u", NULL, offsetof(Manager, limits.unacknowledged),
                        SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MaxUnacknowledgedPerClient", "u", NULL,
                        offsetof(Manager, limits.unacknowledged_per_client), SD_BUS_VTABLE_PROPERTY_CONST),

        SD_BUS_METHOD_WITH_ARGS("Listen",
                                SD_BUS_ARGS("i", localPort, "a{sv}", options, "i", backlog),
                                SD_BUS_RESULT("o", listener),
                                method_listen, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListListeners",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(oa{sv})", listeners),
                                method_list_listeners, SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_SIGNAL_WITH_ARGS("AcceptSocket",
                                SD_BUS_ARGS("o", listener, "h", socket, "s", remoteAddress, "q", remotePort,
                                            "a{sv}", details),
                                0),
        SD_BUS_SIGNAL_WITH_ARGS("Error",
                                SD_BUS_ARGS("o", listener, "s", message, "s", filename, "u", lineNumber,
                                            "u", columnNumber),
                                0),
        SD_BUS_SIGNAL_WITH_ARGS("Closed",
                                SD_BUS_ARGS("o", listener, "s", reason),
                                0),

        SD_BUS_VTABLE_END
};

static const sd_bus_vtable *get_manager_vtable(void) {
        return manager_vtable;
}
