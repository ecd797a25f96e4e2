/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

#include "base/hash.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "base/names.h"
#include "ctl/cli/message.h"
#include "ctl/service/client.h"
#include "ctl/service/listener-watch.h"
#include "ctl/service/listener.h"
#include "ctl/service/monitor.h"

/* Limits the remembered calls of Accept. Fewer wait at a time; the others are of clients that are gone. */
#define CALLS_MAX 65536

static const char *const rules[] = {
        "type='signal',sender='" BUS_NAME "',interface='" MANAGER_INTERFACE "'",
        "type='method_call',destination='" BUS_NAME "',member='Accept'",
        "type='method_return',sender='" BUS_NAME "'",
        "type='error',sender='" BUS_NAME "'",
};

/* A call of Accept, remembered because the reply does not name the listener. */
typedef struct AcceptCall {
        char *key; /* sender and serial */
        char *path;
        UT_hash_handle hh;
} AcceptCall;

struct Monitor {
        Context *context;
        sd_event *event;
        MonitorHandler handler;
        void *userdata;

        sd_bus *bus;
        sd_event_source *input;

        AcceptCall *calls;

        ListenerWatch *listeners;
        sd_bus_slot *name_owner;
};

DEFINE_CLEANUP(Monitor, monitor_free)

static void on_appeared(const Listener *listener, void *userdata) {
        Monitor *m = userdata;

        m->handler(
                        &(MonitorEvent) {
                                        .type = MONITOR_LISTENING,
                                        .listener = listener->path,
                                        .client = listener->owner ?: "",
                                        .local_address = listener->local_address,
                                        .local_port = listener->local_port,
                                        .name = listener->name,
                                        .delivery = listener->delivery,
                                        .persistent = listener->persistent,
                        },
                        m->userdata);
}

/* The owner has left the bus, so that no signal was sent; or it had none, and the reason is not known. */
static void on_vanished(const char *path, bool had_owner, void *userdata) {
        Monitor *m = userdata;

        m->handler(
                        &(MonitorEvent) {
                                        .type = MONITOR_CLOSED,
                                        .listener = path,
                                        .client = "",
                                        .reason = had_owner ? "owner" : "unknown",
                        },
                        m->userdata);
}

static void on_count(const Listener *listener, Counter counter, uint64_t count, void *userdata) {
        Monitor *m = userdata;

        m->handler(
                        &(MonitorEvent) {
                                        .type = counter == COUNTER_REFUSED ? MONITOR_REFUSED
                                                                           : MONITOR_CONNECTIONS,
                                        .listener = listener->path,
                                        .client = listener->owner ?: "",
                                        .count = count,
                        },
                        m->userdata);
}

static const ListenerWatchEvents watch_events = {
        .appeared = on_appeared,
        .vanished = on_vanished,
        .counted = on_count,
};

/* ---------------------------------------------------------------------------------------- calls of Accept */

static void forget_call(Monitor *m, AcceptCall *call) {
        HASH_DEL(m->calls, call);
        free(call->key);
        free(call->path);
        free(call);
}

static void forget_calls(Monitor *m) {
        AcceptCall *call, *next;

        HASH_ITER(hh, m->calls, call, next)
        forget_call(m, call);
}

static void remember_call(Monitor *m, sd_bus_message *message) {
        const char *sender = sd_bus_message_get_sender(message), *path = sd_bus_message_get_path(message);
        AcceptCall *call;
        uint64_t cookie;

        /* A call without a reply gets no connection. */
        if (!sender || !path || sd_bus_message_get_expect_reply(message) <= 0 ||
            sd_bus_message_get_cookie(message, &cookie) < 0)
                return;
        if (HASH_COUNT(m->calls) >= CALLS_MAX)
                forget_calls(m);

        call = calloc(1, sizeof(*call));
        if (!call)
                return;
        call->path = strdup(path);
        if (asprintf(&call->key, "%s %" PRIu64, sender, cookie) < 0)
                call->key = NULL;
        if (call->key && call->path)
                HASH_ADD_KEYPTR(hh, m->calls, call->key, strlen(call->key), call);
        if (!call->key || !call->path || !hash_was_added(&call->hh)) {
                free(call->key);
                free(call->path);
                free(call);
        }
}

/* Returns the call that this message answers, or NULL. */
static AcceptCall *find_call(Monitor *m, sd_bus_message *message) {
        const char *destination = sd_bus_message_get_destination(message);
        _cleanup_free_ char *key = NULL;
        AcceptCall *call;
        uint64_t cookie;

        if (!destination || sd_bus_message_get_reply_cookie(message, &cookie) < 0)
                return NULL;
        if (asprintf(&key, "%s %" PRIu64, destination, cookie) < 0) {
                key = NULL;
                return NULL;
        }

        HASH_FIND_STR(m->calls, key, call);
        return call;
}

/* ----------------------------------------------------------------------------------------------- messages */

static int read_detail(sd_bus_message *message, const char *key, const char *contents, void *userdata) {
        MonitorEvent *e = userdata;

        if (streq(key, "serial") && streq(contents, "t"))
                return sd_bus_message_read(message, "v", "t", &e->serial);
        if (streq(key, "localAddress") && streq(contents, "s"))
                return sd_bus_message_read(message, "v", "s", &e->local_address);
        if (streq(key, "localPort") && streq(contents, "q"))
                return sd_bus_message_read(message, "v", "q", &e->local_port);
        if (streq(key, "binaryType") && streq(contents, "s"))
                return sd_bus_message_read(message, "v", "s", &e->binary_type);

        return sd_bus_message_skip(message, "v");
}

/* Reads "hsqa{sv}". The descriptor stays the message's. */
static int read_connection(sd_bus_message *message, MonitorEvent *e) {
        int r;

        r = sd_bus_message_skip(message, "h");
        if (r >= 0)
                r = sd_bus_message_read(message, "sq", &e->remote_address, &e->remote_port);

        return r < 0 ? r : field_read_dict(message, read_detail, e);
}

static void handle_accepted(Monitor *m, sd_bus_message *message) {
        MonitorEvent e = { .type = MONITOR_CONNECTION,
                           .client = sd_bus_message_get_destination(message) ?: "" };
        AcceptCall *call = find_call(m, message);
        int r;

        if (!call)
                return;

        e.listener = call->path;
        r = sd_bus_message_enter_container(message, 'a', "(hsqa{sv})");
        while (r >= 0 && sd_bus_message_enter_container(message, 'r', "hsqa{sv}") > 0) {
                r = read_connection(message, &e);
                if (r >= 0) {
                        m->handler(&e, m->userdata);
                        r = sd_bus_message_exit_container(message);
                }
        }

        forget_call(m, call);
}

static void handle_signal(Monitor *m, sd_bus_message *message) {
        const char *member = sd_bus_message_get_member(message);
        MonitorEvent e = { .client = sd_bus_message_get_destination(message) ?: "" };
        int r = -EBADMSG;

        if (streq(member, "AcceptSocket")) {
                e.type = MONITOR_CONNECTION;
                r = sd_bus_message_read_basic(message, 'o', &e.listener);
                if (r >= 0)
                        r = read_connection(message, &e);
        } else if (streq(member, "Error")) {
                e.type = MONITOR_ERROR;
                r = sd_bus_message_read(message, "ossuu", &e.listener, &e.message, &e.filename, &e.line,
                                        &e.column);
        } else if (streq(member, "Pending")) {
                e.type = MONITOR_PENDING;
                r = sd_bus_message_read(message, "o", &e.listener);
        } else if (streq(member, "Closed")) {
                e.type = MONITOR_CLOSED;
                r = sd_bus_message_read(message, "os", &e.listener, &e.reason);
                if (r > 0)
                        listener_watch_handle_closed(m->listeners, e.listener);
        }

        if (r > 0 || (r == 0 && e.listener))
                m->handler(&e, m->userdata);
}

static void handle(Monitor *m, sd_bus_message *message) {
        const char *member;
        AcceptCall *call;
        uint8_t type;

        if (sd_bus_message_get_type(message, &type) < 0)
                return;

        switch (type) {

        case SD_BUS_MESSAGE_SIGNAL:
                if (sd_bus_message_is_signal(message, MANAGER_INTERFACE, NULL) > 0)
                        handle_signal(m, message);
                break;

        case SD_BUS_MESSAGE_METHOD_CALL:
                member = sd_bus_message_get_member(message);
                if (member && streq(member, "Accept"))
                        remember_call(m, message);
                break;

        case SD_BUS_MESSAGE_METHOD_RETURN:
                if (sd_bus_message_has_signature(message, "a(hsqa{sv})") > 0)
                        handle_accepted(m, message);
                /* Only Listen replies with a path. */
                else if (sd_bus_message_has_signature(message, "o") > 0)
                        listener_watch_handle_new(m->listeners);
                break;

        default:
                call = find_call(m, message);
                if (call)
                        forget_call(m, call);
                break;
        }
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Monitor *m = userdata;
        int r;

        for (;;) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;

                r = sd_bus_process(m->bus, &message);
                if (r <= 0)
                        break;
                if (message &&
                    sd_bus_message_is_signal(message, "org.freedesktop.DBus.Local", "Disconnected") > 0) {
                        r = -ECONNRESET;
                        break;
                }
                if (message)
                        handle(m, message);
        }
        if (r < 0) {
                (void) message_error(r, _("The bus has closed the connection: %s."), strerror(-r));
                return sd_event_exit(m->event, EXIT_FAILURE);
        }

        return 0;
}

/* Not by the monitor, to which dbus-broker sends no signals of the bus itself. */
static int on_name_owner(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Monitor *m = userdata;
        const char *name, *before, *after;

        if (sd_bus_message_read(message, "sss", &name, &before, &after) <= 0)
                return 0;

        if (*before != '\0')
                m->handler(&(MonitorEvent) { .type = MONITOR_SERVICE, .client = before }, m->userdata);
        if (*after == '\0')
                return 0;
        m->handler(&(MonitorEvent) { .type = MONITOR_SERVICE, .client = after, .is_running = true },
                   m->userdata);
        /* Without systemd's file descriptor store, all listeners are gone. */
        listener_watch_handle_new(m->listeners);
        return 0;
}

/* ------------------------------------------------------------------------------------------------ the bus */

static int become_monitor(sd_bus *bus, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus.Monitoring", "BecomeMonitor");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; r >= 0 && i < ELEMENTS(rules); i++)
                r = sd_bus_message_append_basic(m, 's', rules[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "u", UINT32_C(0));

        return r < 0 ? r : sd_bus_call(bus, m, 0, error, NULL);
}

/* A monitor cannot make calls, so it needs a connection of its own to the same bus. */
static int open_monitor(const Context *c, sd_bus **ret, sd_bus_error *error) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        const char *address;
        int r;

        r = sd_bus_get_address(c->bus, &address);
        if (r >= 0)
                r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_monitor(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = become_monitor(bus, error);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bus);
        return 0;
}

int monitor_reconnect(Monitor *m) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        assert(!m->bus);

        r = open_monitor(m->context, &m->bus, &error);
        if (sd_bus_error_has_name(&error, SD_BUS_ERROR_ACCESS_DENIED))
                return message_error(-EACCES,
                                     _("The bus does not allow you to monitor it; run the command as root."));
        if (r >= 0)
                r = sd_event_add_io(m->event, &m->input, sd_bus_get_fd(m->bus), EPOLLIN, on_input, m);

        return r < 0 ? client_error(m->context, r, &error, _("Failed to monitor the bus")) : 0;
}

void monitor_disconnect(Monitor *m) {
        m->input = sd_event_source_disable_unref(m->input);
        m->bus = sd_bus_close_unref(m->bus);
        forget_calls(m);
}

int monitor_new(Context *c, sd_event *event, MonitorHandler handler, void *userdata, Monitor **ret) {
        _cleanup_(monitor_freep) Monitor *m = NULL;
        int r;

        r = context_connect(c);
        if (r < 0)
                return r;

        m = calloc(1, sizeof(*m));
        if (!m)
                return message_oom();
        m->context = c;
        m->event = sd_event_ref(event);
        m->handler = handler;
        m->userdata = userdata;

        r = monitor_reconnect(m);
        if (r < 0)
                return r;

        r = listener_watch_new(c, event, &watch_events, m, &m->listeners);
        if (r < 0)
                return message_oom();
        r = sd_bus_add_match(c->bus, &m->name_owner,
                             "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                             "member='NameOwnerChanged',arg0='" BUS_NAME "'",
                             on_name_owner, m);
        if (r >= 0)
                r = sd_bus_attach_event(c->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                /* Messages may have come during the calls, before the loop watches the connection. */
                r = on_input(NULL, -1, 0, m);
        if (r < 0)
                return client_error(c, r, NULL, _("Failed to monitor the bus"));

        *ret = TAKE_PTR(m);
        return 0;
}

Monitor *monitor_free(Monitor *m) {
        if (!m)
                return NULL;

        monitor_disconnect(m);
        listener_watch_free(m->listeners);
        sd_bus_slot_unref(m->name_owner);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}
