/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdio.h>

#include "base/i18n.h"
#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "base/names.h"
#include "base/socket.h"
#include "config.h"
#include "daemon/bus/access.h"
#include "daemon/bus/call.h"
#include "daemon/bus/listener-properties.h"
#include "daemon/bus/manager-bus.h"
#include "daemon/bus/options-bus.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/listener/listener.h"
#include "daemon/outbox/error-reply.h"
#include "daemon/policy/options.h"
#include "daemon/policy/settings.h"

/* At the end of the file. */
static const sd_bus_vtable *get_manager_vtable(void);

/* The configuration forbids the port, the address or the delivery, to root as well. */
static int set_forbidden_error(Call *call, int r, const ListenOptions *o) {
        char address[ADDRESS_STRING_MAX];
        LogFields fields = call_log_fields(call);

        fields.action = "";
        fields.port = (uint16_t) o->port;
        fields.has_port = true;
        fields.address = address_format_on(&o->address, o->interface, address);
        fields.interface = o->interface ?: "";
        fields.delivery = delivery_kind_to_string(o->delivery);
        fields.persistent = o->persistent;
        call_log_denied(call, &fields, "the configuration does not allow it");

        switch (r) {

        case MANAGER_E_PORT:
                return error_set(&call->error, ERROR_PORT_NOT_ALLOWED, (unsigned) o->port);

        case MANAGER_E_ADDRESS:
                return error_set(&call->error, ERROR_ADDRESS_NOT_ALLOWED,
                                 address_format(&o->address, address));

        default:
                assert(r == MANAGER_E_DELIVERY);
                return error_set(&call->error, ERROR_DELIVERY_NOT_ALLOWED,
                                 delivery_kind_to_string(o->delivery));
        }
}

/* Why the address is not available. */
static ErrorId explain_address(const Address *address) {
        if (address->sa.sa_family != AF_INET6)
                return ERROR_NO_SUCH_ADDRESS;

        switch (socket_get_address_state(address)) {

        case ADDRESS_TENTATIVE:
        case ADDRESS_ASSIGNED: /* in the meantime */
                return ERROR_ADDRESS_TENTATIVE;

        case ADDRESS_DUPLICATE:
                return ERROR_ADDRESS_DUPLICATE;

        default:
                return ERROR_NO_SUCH_ADDRESS;
        }
}

static int set_listen_error(Call *call, int r, const ListenOptions *o) {
        const Limits *limits = &call->manager->limits;
        char address[ADDRESS_STRING_MAX];
        unsigned port = (unsigned) o->port;

        (void) address_format(&o->address, address);

        switch (r) {

        case MANAGER_E_CLOSED:
                return error_set(&call->error, ERROR_SHUTTING_DOWN);

        case MANAGER_E_LISTENERS:
                return call_set_limit_error(call, ERROR_TOO_MANY_LISTENERS, "MaxListeners",
                                            limits->listeners);

        case MANAGER_E_LISTENERS_PER_USER:
                return call_set_limit_error(call, ERROR_TOO_MANY_LISTENERS_PER_USER, "MaxListenersPerUser",
                                            limits->listeners_per_user);

        case MANAGER_E_PORT:
        case MANAGER_E_ADDRESS:
        case MANAGER_E_DELIVERY:
                return set_forbidden_error(call, r, o);

        case -EADDRINUSE:
                return port == 0 ? error_set(&call->error, ERROR_NO_PORT_LEFT, address)
                                 : error_set(&call->error, ERROR_PORT_IN_USE, port, address);

        case -EADDRNOTAVAIL:
                return error_set(&call->error, explain_address(&o->address), address);

        case -EAFNOSUPPORT:
                return error_set(&call->error, ERROR_ADDRESS_FAMILY_NOT_SUPPORTED, address);

        case -ENODEV:
                return error_set(&call->error, ERROR_NO_SUCH_INTERFACE, o->interface ?: "");

        case -EACCES:
        case -EPERM:
                return error_set(&call->error, ERROR_BIND_NOT_PERMITTED, port, address);

        default:
                return error_set_errno(&call->error, r, ERROR_LISTEN_FAILED, port, address);
        }
}

/* By net.ipv4.ip_unprivileged_port_start; if that cannot be read, all ports are privileged. */
static bool port_is_privileged(int32_t port) {
        uint32_t start;

        if (port == 0)
                return false; /* the kernel never chooses a privileged port */

        return socket_get_unprivileged_port_start(&start) < 0 || (uint32_t) port < start;
}

/* A listener that an administrator wants to know of. */
static bool listener_is_notable(const ListenOptions *o) {
        return o->persistent || port_is_privileged(o->port);
}

static void log_granted(const Call *call, const Listener *l) {
        char address[ADDRESS_STRING_MAX];
        LogFields fields = listener_log_all_fields(l, address);

        fields.owner = call->client->name;
        fields.owner_unit = call->client->unit;
        fields.action = call->authorized ? call->need.question.action : NULL;
        fields.kind = port_is_privileged(fields.port) ? LOG_KIND_PRIVILEGED : LOG_KIND_LISTENER;
        log_event(LOG_NOTICE, MESSAGE_LISTENER_GRANTED_STR, &fields,
                  "Granted user %u port %u on %s (delivery \"%s\"%s)", (unsigned) l->uid, fields.port,
                  address, fields.delivery, fields.persistent ? ", persistent" : "");
}

/* The option adopt. No authorization is needed: the user was authorized when the listener was created. */
static int adopt(Call *call, Listener *l, const ListenOptions *o) {
        const char *key;
        int r;

        r = manager_check_settings(call->manager, o);
        if (r != 0)
                return set_forbidden_error(call, r, o);

        key = l->address.sa.sa_family == AF_INET6 && socket_is_ipv6_only(l->fd) != o->ipv6_only
                              ? "ipv6Only"
                              : listen_options_find_difference(l->options, o);
        if (key)
                return error_set(&call->error, ERROR_OPTION_DIFFERS, l->path, key);

        r = socket_change(l->fd, &(SocketSettings) {
                                                 .no_delay = o->no_delay,
                                                 .keep_alive = o->keep_alive,
                                                 .defer_accept = o->defer_accept,
                                                 .fast_open = o->fast_open,
                                 });
        return r < 0 ? set_listen_error(call, r, o) : access_adopt(call, l, l->path);
}

static int act_listen(Call *call) {
        ListenOptions *o = call->data;
        Client *client = call->client;
        Listener *l;
        int r;

        l = manager_find_adoptable(call->manager, client->uid, o);
        if (l)
                return adopt(call, l, o);

        r = manager_listen(call->manager, client, o, &l);
        if (r != 0)
                return set_listen_error(call, r, o);
        call->data = NULL; /* consumed */

        log_debug("%s of uid %u: port %u for %s", l->path, (unsigned) l->uid, address_get_port(&l->address),
                  client->name);

        if (listener_is_notable(l->options))
                log_granted(call, l);
        logout_add(&call->queue->logout, l);

        /* The first message about the listener. No system call follows until the listener is announced: a
         * process that is killed in between would close a listener that its client knows. */
        r = sd_bus_reply_method_return(call->message, "o", l->path);
        if (r < 0) {
                listener_close(l, LISTENER_END_ERROR);
                return r;
        }

        manager_own(call->manager, client, l);
        return 0;
}

static void free_options(void *data) {
        (void) listen_options_free(data);
}

static const char *get_listen_message(const ListenOptions *o) {
        if (o->persistent)
                return o->port == 0 ? N_("Authentication is required to receive network connections on a port that "
                                         "the system chooses, even after the program has ended.")
                                    : N_("Authentication is required to receive network connections on port "
                                         "$(port), even after the program has ended.");

        return o->port == 0 ? N_("Authentication is required to receive network connections on a port that the "
                                 "system chooses.")
                            : N_("Authentication is required to receive network connections on port $(port).");
}

static void need_listen(Call *call, CallNeed *need) {
        const ListenOptions *o = call->data;
        bool privileged = port_is_privileged(o->port);

        /* polkit is not asked about a request that the configuration forbids; act_listen() refuses it. */
        if (manager_check_settings(call->manager, o) != 0)
                return;
        /* As for Adopt. act_listen() follows at once, or finds it gone after an answer of polkit. */
        if (manager_find_adoptable(call->manager, call->client->uid, o))
                return;

        need->question.action = privileged ? ACTION_LISTEN_PRIVILEGED : ACTION_LISTEN;
        need->question.may_ask = sd_bus_message_get_allow_interactive_authorization(call->message) > 0;
        (void) snprintf(need->port, sizeof(need->port), "%i", o->port);
        polkit_question_add(&need->question, "port", need->port);
        polkit_question_add(&need->question, "address",
                            address_format_on(&o->address, o->interface, need->address));
        polkit_question_add(&need->question, "interface", o->interface ?: "");
        polkit_question_add(&need->question, "delivery", delivery_kind_to_string(o->delivery));
        polkit_question_add(&need->question, "name", o->name);
        polkit_question_add(&need->question, "persistent", o->persistent ? "true" : "");
        polkit_question_add(&need->question, "polkit.message", get_listen_message(o));
        polkit_question_add(&need->question, "polkit.gettext_domain", GETTEXT_PACKAGE);
}

static int method_listen(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        static const CallMethod plain = {
                .need = need_listen, .act = act_listen, .free_data = free_options, .needs_descriptors = true
        };
        static const CallMethod notable = {
                .need = need_listen,
                .act = act_listen,
                .free_data = free_options,
                .needs_descriptors = true,
                .needs_unit = true,
        };
        CallQueue *calls = ((Manager *) userdata)->userdata;
        _cleanup_(error_done) Error problem = {};
        ListenOptions *o;
        int r;

        r = listen_options_read(m, &o, &problem);
        if (r < 0)
                return error_reply_send(m, r, &problem);

        return call_start(calls, m, listener_is_notable(o) ? &notable : &plain, o);
}

/* dbus-daemon disconnects senders of messages above 32 MiB (max_message_size), and a listener can take almost
 * 1 KiB. */
#define LIST_MAX 32768U

static int act_list_listeners(Call *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint64_t size = 0;
        uint32_t n = 0;
        int r;

        for (const Listener *l = call->manager->listeners; l; l = l->hh.next)
                if (access_may(call, l, ACCESS_SEE)) {
                        size += LISTENER_PROPERTIES_SIZE + strlen(l->options->name);
                        n++;
                }
        if (n > LIST_MAX)
                return error_set(&call->error, ERROR_LIST_TOO_LONG, LIST_MAX);

        r = unread_bus_admit(&call->queue->unread, call->message, call->client->uid, size, &call->error);
        if (r < 0)
                return r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r < 0)
                return r;

        r = sd_bus_message_open_container(reply, 'a', "(oa{sv})");
        if (r < 0)
                return r;

        for (Listener *l = call->manager->listeners; l; l = l->hh.next) {
                if (!access_may(call, l, ACCESS_SEE))
                        continue;

                r = sd_bus_message_open_container(reply, 'r', "oa{sv}");
                if (r < 0)
                        return r;
                r = sd_bus_message_append_basic(reply, 'o', l->path);
                if (r < 0)
                        return r;
                r = listener_properties_append(call->queue->bus, reply, l);
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
        static const CallMethod method = { .need = access_need_list, .act = act_list_listeners };
        CallQueue *calls = ((Manager *) userdata)->userdata;

        return call_start(calls, m, &method, NULL);
}

static int property_get_version(sd_bus *bus,
                                const char *path,
                                const char *interface,
                                const char *property,
                                sd_bus_message *reply,
                                void *userdata,
                                sd_bus_error *error) {
        return sd_bus_message_append_basic(reply, 's', PROJECT_VERSION);
}

static int property_get_idle_timeout(sd_bus *bus,
                                     const char *path,
                                     const char *interface,
                                     const char *property,
                                     sd_bus_message *reply,
                                     void *userdata,
                                     sd_bus_error *error) {
        Manager *m = userdata;

        return sd_bus_message_append_basic(reply, 't', &m->settings->idle_timeout_usec);
}

static int property_get_setting(sd_bus *bus,
                                const char *path,
                                const char *interface,
                                const char *property,
                                sd_bus_message *reply,
                                void *userdata,
                                sd_bus_error *error) {
        Manager *m = userdata;

        return sd_bus_message_append(reply, "b",
                                     streq(property, "RequireContainment")
                                                     ? m->settings->require_containment
                                                     : m->settings->allow_socket_delivery);
}

static int property_get_contained(sd_bus *bus,
                                  const char *path,
                                  const char *interface,
                                  const char *property,
                                  sd_bus_message *reply,
                                  void *userdata,
                                  sd_bus_error *error) {
        Manager *m = userdata;

        return sd_bus_message_append(reply, "b", m->contained);
}

static int property_get_allowed_addresses(sd_bus *bus,
                                          const char *path,
                                          const char *interface,
                                          const char *property,
                                          sd_bus_message *reply,
                                          void *userdata,
                                          sd_bus_error *error) {
        Manager *m = userdata;

        static char *nothing[] = { (char *) "none", NULL };
        char **addresses = m->settings->allowed_addresses;

        return sd_bus_message_append_strv(reply, addresses && !*addresses ? nothing : addresses);
}

static int property_get_allowed_ports(sd_bus *bus,
                                      const char *path,
                                      const char *interface,
                                      const char *property,
                                      sd_bus_message *reply,
                                      void *userdata,
                                      sd_bus_error *error) {
        Manager *m = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(qq)");
        if (r < 0)
                return r;

        if (m->settings->allowed_ports && !*m->settings->allowed_ports) {
                r = sd_bus_message_append(reply, "(qq)", 0, 0);
                if (r < 0)
                        return r;
        }

        for (char **s = m->settings->allowed_ports; s && *s; s++) {
                PortRange range;

                r = parse_port_range(*s, &range);
                if (r < 0)
                        return r;
                r = sd_bus_message_append(reply, "(qq)", range.first, range.last);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(reply);
}

void manager_bus_emit_settings(sd_bus *bus) {
        int r;

        r = sd_bus_emit_properties_changed(
                        bus, MANAGER_PATH, MANAGER_INTERFACE, "MaxListeners", "MaxListenersPerUser",
                        "MaxChannels", "MaxChannelsPerUser", "MaxPendingRequestsPerUser", "MaxUnacknowledged",
                        "MaxUnacknowledgedPerClient", "IdleTimeoutUSec", "AllowedPorts", "AllowedAddresses",
                        "AllowSocketDelivery", "RequireContainment", NULL);
        if (r < 0)
                log_warning("Failed to send PropertiesChanged: %s", strerror(-r));
}

int manager_bus_add(sd_bus *bus, Manager *manager, sd_bus_slot **ret) {
        return sd_bus_add_object_vtable(bus, ret, MANAGER_PATH, MANAGER_INTERFACE, get_manager_vtable(),
                                        manager);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Version", "s", property_get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Contained", "b", property_get_contained, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MaxListeners",
                        "u",
                        NULL,
                        offsetof(Manager, limits.listeners),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("MaxListenersPerUser",
                        "u",
                        NULL,
                        offsetof(Manager, limits.listeners_per_user),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("MaxChannels",
                        "u",
                        NULL,
                        offsetof(Manager, limits.channels),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("MaxChannelsPerUser",
                        "u",
                        NULL,
                        offsetof(Manager, limits.channels_per_user),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("MaxPendingRequestsPerUser",
                        "u",
                        NULL,
                        offsetof(Manager, limits.pending_requests_per_user),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("MaxUnacknowledged",
                        "u",
                        NULL,
                        offsetof(Manager, limits.unacknowledged),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("MaxUnacknowledgedPerClient",
                        "u",
                        NULL,
                        offsetof(Manager, limits.unacknowledged_per_client),
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("IdleTimeoutUSec",
                        "t",
                        property_get_idle_timeout,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("AllowedPorts",
                        "a(qq)",
                        property_get_allowed_ports,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("AllowedAddresses",
                        "as",
                        property_get_allowed_addresses,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("AllowSocketDelivery",
                        "b",
                        property_get_setting,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("RequireContainment",
                        "b",
                        property_get_setting,
                        0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),

        SD_BUS_METHOD_WITH_ARGS("Listen",
                                SD_BUS_ARGS("i", localPort, "a{sv}", options, "i", backlog),
                                SD_BUS_RESULT("o", listener),
                                method_listen,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListListeners",
                                SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(oa{sv})", listeners),
                                method_list_listeners,
                                SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_SIGNAL_WITH_ARGS("AcceptSocket",
                                SD_BUS_ARGS("o",
                                            listener,
                                            "h",
                                            socket,
                                            "s",
                                            remoteAddress,
                                            "q",
                                            remotePort,
                                            "a{sv}",
                                            details),
                                0),
        SD_BUS_SIGNAL_WITH_ARGS("Pending", SD_BUS_ARGS("o", listener), 0),
        SD_BUS_SIGNAL_WITH_ARGS("Error",
                                SD_BUS_ARGS("o",
                                            listener,
                                            "s",
                                            message,
                                            "s",
                                            filename,
                                            "u",
                                            lineNumber,
                                            "u",
                                            columnNumber),
                                0),
        SD_BUS_SIGNAL_WITH_ARGS("Closed", SD_BUS_ARGS("o", listener, "s", reason), 0),

        SD_BUS_VTABLE_END
};

static const sd_bus_vtable *get_manager_vtable(void) {
        return manager_vtable;
}
