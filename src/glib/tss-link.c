/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-link.h"

#include <gio/gunixfdlist.h>

#include "base/macros.h"
#include "base/names.h"
#include "glib/tss-error.h"

#define _(text) tss_gettext(text)

/* polkit's agents give a person up to five minutes. */
#define INTERACTIVE_TIMEOUT_MS (330 * 1000)

/* On a bus that cannot start the service, its next process needs some time. */
#define RETRIES 100U
#define RETRY_MS 100U

/* After the service has refused to pause or to resume. */
#define PAUSE_RETRY_MS 500U

/* -------------------------------------------------------------------------------------------- the bus */

/* The flags of g_bus_get(). With the last one, the bus takes the uid from the socket: in a container, the uid
 * of the process is another one inside than outside. g_dbus_connection_new_for_address() of GLib 2.74 does
 * not accept it. */
#define BUS_FLAGS                                                                                         \
        (G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT | G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION | \
         G_DBUS_CONNECTION_FLAGS_CROSS_NAMESPACE)

void tss_bus_connect_async(GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data) {
        g_autofree char *address = NULL;
        GError *error = NULL;

        address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, cancellable, &error);
        if (address) {
                g_async_initable_new_async(G_TYPE_DBUS_CONNECTION, G_PRIORITY_DEFAULT, cancellable, callback,
                                           user_data, "address", address, "flags", BUS_FLAGS, NULL);
                return;
        }

        g_task_report_error(NULL, callback, user_data, tss_bus_connect_async, error);
}

GDBusConnection *tss_bus_connect_finish(GAsyncResult *result, GError **error) {
        if (G_IS_TASK(result) && g_async_result_is_tagged(result, tss_bus_connect_async))
                return g_task_propagate_pointer(G_TASK(result), error);

        return g_dbus_connection_new_for_address_finish(result, error);
}

GDBusConnection *tss_bus_connect_sync(GCancellable *cancellable, GError **error) {
        g_autofree char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, cancellable, error);

        return address ? g_initable_new(G_TYPE_DBUS_CONNECTION, cancellable, error, "address", address,
                                        "flags", BUS_FLAGS, NULL)
                       : NULL;
}

/* ----------------------------------------------------------------------------------------------- calls */

typedef struct Call {
        GDBusConnection *bus;
        TssCall call;
        unsigned attempts;
        int fd; /* of the reply */
} Call;

static void call_free(gpointer data) {
        Call *c = data;

        g_object_unref(c->bus);
        g_free((char *) c->call.path);
        g_clear_pointer(&c->call.arguments, g_variant_unref);
        (void) close_fd(c->fd);
        g_free(c);
}

static void call_send(GTask *task);

static gboolean on_retry(gpointer user_data) {
        call_send(g_object_ref(user_data));
        return G_SOURCE_REMOVE;
}

/* A call was not answered, because the service is being restarted. */
static gboolean call_retry(GTask *task, const GError *error) {
        Call *c = g_task_get_task_data(task);
        g_autoptr(GSource) source = NULL;

        if (!tss_error_is_no_reply(error) && !(c->attempts > 0 && tss_error_is_no_service(error)))
                return FALSE;
        if (c->attempts++ >= RETRIES)
                return FALSE;

        source = g_timeout_source_new(tss_error_is_no_reply(error) ? 0 : RETRY_MS);
        g_task_attach_source(task, source, on_retry);
        return TRUE;
}

/* The task's reference is that of the callback. */
static void on_answered(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autoptr(GTask) task = user_data;
        g_autoptr(GUnixFDList) fds = NULL;
        Call *c = g_task_get_task_data(task);
        GError *error = NULL;
        GVariant *reply;

        reply = g_dbus_connection_call_with_unix_fd_list_finish(c->bus, &fds, result, &error);
        if (reply && fds && g_unix_fd_list_get_length(fds) > 0)
                c->fd = g_unix_fd_list_get(fds, 0, &error);

        if (!error)
                g_task_return_pointer(task, reply, (GDestroyNotify) g_variant_unref);
        else {
                g_clear_pointer(&reply, g_variant_unref);
                if (call_retry(task, error))
                        g_error_free(error);
                else
                        g_task_return_error(task, error);
        }
}

static void call_send(GTask *task) {
        Call *c = g_task_get_task_data(task);

        g_dbus_connection_call_with_unix_fd_list(
                        c->bus, BUS_NAME, c->call.path, c->call.interface, c->call.method, c->call.arguments,
                        G_VARIANT_TYPE(c->call.type),
                        c->call.interactive ? G_DBUS_CALL_FLAGS_ALLOW_INTERACTIVE_AUTHORIZATION
                                            : G_DBUS_CALL_FLAGS_NONE,
                        c->call.interactive ? INTERACTIVE_TIMEOUT_MS : -1, NULL, g_task_get_cancellable(task),
                        on_answered, task);
}

void tss_bus_call_async(GDBusConnection *bus,
                        const TssCall *call,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data) {
        GTask *task = g_task_new(bus, cancellable, callback, user_data);
        Call *c = g_new(Call, 1);

        *c = (Call) { .bus = g_object_ref(bus), .call = *call, .fd = -EBADF };
        c->call.path = g_strdup(call->path);
        if (call->arguments)
                c->call.arguments = g_variant_ref_sink(call->arguments);
        g_task_set_source_tag(task, tss_bus_call_async);
        g_task_set_task_data(task, c, call_free);
        call_send(task);
}

GVariant *tss_bus_call_finish(GAsyncResult *result, int *ret_fd, GError **error) {
        Call *c = g_task_get_task_data(G_TASK(result));
        GVariant *reply = g_task_propagate_pointer(G_TASK(result), error);

        if (reply && ret_fd)
                *ret_fd = TAKE_FD(c->fd);
        return reply;
}

char *tss_bus_get_string(GVariant *properties, const char *name) {
        const char *text = "";

        (void) g_variant_lookup(properties, name, "&s", &text);
        return g_strdup(text);
}

/* ------------------------------------------------------------------------------------------------ the link
 */

/* What the service does with connections. */
typedef enum RemoteState {
        REMOTE_LISTENING,
        REMOTE_PAUSED,
        REMOTE_UNKNOWN,  /* the last call failed */
        REMOTE_PAUSING,  /* Pause is not answered */
        REMOTE_RESUMING, /* Resume is not answered */
} RemoteState;

struct TssLink {
        GDBusConnection *bus;
        GCancellable *cancellable; /* of calls that must not keep the bus connection */
        GWeakRef owner;
        const TssLinkEvents *events;
        char *path;

        guint signals;
        guint names;
        guint object;
        gulong closed_handler;
        gboolean has_answered; /* a call of the service */

        gboolean is_paused; /* by the program */
        RemoteState remote;

        /* The last signal Error, which explains some reasons. */
        char *error;
        /* A listener can be closed before its path is known. */
        char *closed_path;
        char *closed_reason;
};

static void link_free(gpointer data) {
        TssLink *self = data;

        g_clear_object(&self->bus);
        g_object_unref(self->cancellable);
        g_weak_ref_clear(&self->owner);
        g_free(self->path);
        g_free(self->error);
        g_free(self->closed_path);
        g_free(self->closed_reason);
}

void tss_link_unref(TssLink *self) {
        g_atomic_rc_box_release_full(self, link_free);
}

static void link_unref(gpointer data) {
        tss_link_unref(data);
}

static void link_closure_unref(gpointer data, GClosure *closure) {
        tss_link_unref(data);
}

GDBusConnection *tss_link_get_bus(TssLink *self) {
        return self->bus;
}

const char *tss_link_get_path(TssLink *self) {
        return self->path;
}

static TssCloseReason reason_from_text(const char *reason) {
        g_autoptr(GEnumClass) class = g_type_class_ref(TSS_TYPE_CLOSE_REASON);
        GEnumValue *value = g_enum_get_value_by_nick(class, reason);

        return value && value->value != TSS_CLOSE_REASON_NONE ? (TssCloseReason) value->value
                                                              : TSS_CLOSE_REASON_OTHER;
}

static const char *describe(TssCloseReason reason) {
        switch (reason) {

        case TSS_CLOSE_REASON_OWNER:
                return _("The program has closed the port");
        case TSS_CLOSE_REASON_LIFELINE:
                return _("The program that used the port has ended");
        case TSS_CLOSE_REASON_ADMINISTRATOR:
                return _("An administrator has closed the port");
        case TSS_CLOSE_REASON_INTERFACE:
                return _("The network interface is gone");
        case TSS_CLOSE_REASON_LOGOUT:
                return _("The port was closed because its user has logged out");
        case TSS_CLOSE_REASON_SHUTDOWN:
                return _("The service tcpserversocket was stopped");
        case TSS_CLOSE_REASON_DISCONNECTED:
                return _("The connection to the bus is lost");
        default:
                return _("The service tcpserversocket has closed the port");
        }
}

static void link_tell_closed(TssLink *self, TssCloseReason reason) {
        g_autoptr(GObject) owner = g_weak_ref_get(&self->owner);
        gboolean has_error = reason == TSS_CLOSE_REASON_ERROR || reason == TSS_CLOSE_REASON_INTERFACE;
        g_autofree char *text = has_error && self->error ? tss_error_message_to_text(self->error, NULL)
                                                         : g_strdup(describe(reason));

        if (owner)
                self->events->closed(owner, reason, text);
}

static void on_signal(GDBusConnection *bus,
                      const char *sender,
                      const char *path,
                      const char *interface,
                      const char *signal,
                      GVariant *arguments,
                      gpointer user_data) {
        TssLink *self = user_data;
        const char *listener, *text;

        if (g_str_equal(signal, "Error") && g_variant_is_of_type(arguments, G_VARIANT_TYPE("(ossuu)"))) {
                g_variant_get(arguments, "(&o&s&suu)", NULL, &text, NULL, NULL, NULL);
                g_free(self->error);
                self->error = g_strdup(text);
        }

        if (!g_str_equal(signal, "Closed") || !g_variant_is_of_type(arguments, G_VARIANT_TYPE("(os)")))
                return;

        g_variant_get(arguments, "(&o&s)", &listener, &text);
        if (self->path && g_str_equal(listener, self->path))
                link_tell_closed(self, reason_from_text(text));
        else if (!self->path) {
                g_free(self->closed_path);
                g_free(self->closed_reason);
                self->closed_path = g_strdup(listener);
                self->closed_reason = g_strdup(text);
        }
}

void tss_link_set_path(TssLink *self, const char *path) {
        g_free(self->path);
        self->path = g_strdup(path);

        if (path && g_strcmp0(self->closed_path, path) == 0)
                link_tell_closed(self, reason_from_text(self->closed_reason));
}

static void on_bus_closed(GDBusConnection *bus, gboolean vanished, GError *error, gpointer user_data) {
        link_tell_closed(user_data, TSS_CLOSE_REASON_DISCONNECTED);
}

/* A service that was not started by systemd does not find the listeners of the process before it. */
static void on_checked(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autoptr(TssLink) self = user_data;
        g_autoptr(GVariant) reply = NULL;
        g_autoptr(GError) error = NULL;

        reply = tss_bus_call_finish(result, NULL, &error);
        if (!reply && tss_error_is_no_listener(error))
                link_tell_closed(self, TSS_CLOSE_REASON_ERROR);
}

static void on_name_owner_changed(GDBusConnection *bus,
                                  const char *sender,
                                  const char *path,
                                  const char *interface,
                                  const char *signal,
                                  GVariant *arguments,
                                  gpointer user_data) {
        TssLink *self = user_data;
        const char *owner;

        if (!self->path || !g_variant_is_of_type(arguments, G_VARIANT_TYPE("(sss)")))
                return;

        g_variant_get(arguments, "(&s&s&s)", NULL, NULL, &owner);
        if (*owner != '\0')
                tss_bus_call_async(self->bus,
                                   &(TssCall) { .path = self->path,
                                                .interface = "org.freedesktop.DBus.Properties",
                                                .method = "Get",
                                                .arguments = g_variant_new("(ss)", LISTENER_INTERFACE,
                                                                           "LocalPort"),
                                                .type = "(v)" },
                                   self->cancellable, on_checked, g_atomic_rc_box_acquire(self));
}

static int get_fd(GDBusMethodInvocation *invocation, gint32 index) {
        GUnixFDList *fds = g_dbus_message_get_unix_fd_list(g_dbus_method_invocation_get_message(invocation));

        return fds && index >= 0 && index < g_unix_fd_list_get_length(fds)
                               ? g_unix_fd_list_get(fds, index, NULL)
                               : -EBADF;
}

/* The bus connection owns no name, so that the policy of the system bus lets only the service call it. */
static void on_method_call(GDBusConnection *bus,
                           const char *sender,
                           const char *path,
                           const char *interface,
                           const char *method,
                           GVariant *arguments,
                           GDBusMethodInvocation *invocation,
                           gpointer user_data) {
        TssLink *self = user_data;
        g_autoptr(GObject) owner = g_weak_ref_get(&self->owner);
        g_autoptr(GVariant) details = NULL;
        guint64 serial = 0;
        gint32 index;
        int fd;

        g_variant_get(arguments, "(&oh&sq@a{sv})", NULL, &index, NULL, NULL, &details);
        (void) g_variant_lookup(details, "serial", "t", &serial);

        self->has_answered = TRUE;
        fd = owner ? get_fd(invocation, index) : -EBADF;
        if (fd >= 0)
                self->events->connection(owner, serial, fd, invocation);
        else
                g_dbus_method_invocation_return_error_literal(invocation, G_IO_ERROR, G_IO_ERROR_FAILED,
                                                              "No descriptor");
}

static GDBusInterfaceInfo *get_client_interface(void) {
        static const char xml[] = "<node><interface name='" CLIENT_INTERFACE "'>"
                                  "<method name='AcceptSocket'>"
                                  "<arg name='listener' type='o'/><arg name='socket' type='h'/>"
                                  "<arg name='remoteAddress' type='s'/><arg name='remotePort' type='q'/>"
                                  "<arg name='details' type='a{sv}'/>"
                                  "</method></interface></node>";
        static GDBusNodeInfo *node;

        if (g_once_init_enter(&node))
                g_once_init_leave(&node, g_dbus_node_info_new_for_xml(xml, NULL));

        return node->interfaces[0];
}

TssLink *tss_link_new(GDBusConnection *bus, GObject *owner, const TssLinkEvents *events) {
        static const GDBusInterfaceVTable vtable = { .method_call = on_method_call };
        TssLink *self = g_atomic_rc_box_new0(TssLink);

        self->bus = bus;
        self->cancellable = g_cancellable_new();
        self->events = events;
        g_weak_ref_init(&self->owner, owner);

        /* Before Listen, so that no signal is missed. */
        self->signals = g_dbus_connection_signal_subscribe(
                        bus, BUS_NAME, MANAGER_INTERFACE, NULL, MANAGER_PATH, NULL, G_DBUS_SIGNAL_FLAGS_NONE,
                        on_signal, g_atomic_rc_box_acquire(self), link_unref);
        self->names = g_dbus_connection_signal_subscribe(
                        bus, "org.freedesktop.DBus", "org.freedesktop.DBus", "NameOwnerChanged",
                        "/org/freedesktop/DBus", BUS_NAME, G_DBUS_SIGNAL_FLAGS_NONE, on_name_owner_changed,
                        g_atomic_rc_box_acquire(self), link_unref);
        self->object = g_dbus_connection_register_object(bus, CLIENT_PATH, get_client_interface(), &vtable,
                                                         g_atomic_rc_box_acquire(self), link_unref, NULL);
        self->closed_handler = g_signal_connect_data(bus, "closed", G_CALLBACK(on_bus_closed),
                                                     g_atomic_rc_box_acquire(self), link_closure_unref, 0);
        return self;
}

static void link_send_pause(TssLink *self);

static gboolean on_pause_retry(gpointer user_data) {
        link_send_pause(user_data);
        return G_SOURCE_REMOVE;
}

static void on_pause_answered(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autoptr(TssLink) self = user_data;
        g_autoptr(GError) error = NULL;
        g_autoptr(GVariant) reply = tss_bus_call_finish(result, NULL, &error);
        g_autoptr(GSource) retry = NULL;

        if (!self->bus)
                return;
        if (reply) {
                self->remote = self->remote == REMOTE_PAUSING ? REMOTE_PAUSED : REMOTE_LISTENING;
                link_send_pause(self);
                return;
        }

        self->remote = REMOTE_UNKNOWN;
        retry = g_timeout_source_new(PAUSE_RETRY_MS);
        g_source_set_callback(retry, on_pause_retry, g_atomic_rc_box_acquire(self), link_unref);
        (void) g_source_attach(retry, g_task_get_context(G_TASK(result)));
}

static void link_send_pause(TssLink *self) {
        if (!self->bus || self->remote == REMOTE_PAUSING || self->remote == REMOTE_RESUMING ||
            self->remote == (self->is_paused ? REMOTE_PAUSED : REMOTE_LISTENING))
                return;

        self->remote = self->is_paused ? REMOTE_PAUSING : REMOTE_RESUMING;
        tss_bus_call_async(self->bus,
                           &(TssCall) { .path = self->path,
                                        .interface = LISTENER_INTERFACE,
                                        .method = self->is_paused ? "Pause" : "Resume",
                                        .type = "()" },
                           self->cancellable, on_pause_answered, g_atomic_rc_box_acquire(self));
}

void tss_link_set_paused(TssLink *self, gboolean paused) {
        self->is_paused = paused;
        link_send_pause(self);
}

static gpointer flush_and_unref(gpointer data) {
        g_autoptr(GDBusConnection) bus = data;

        (void) g_dbus_connection_flush_sync(bus, NULL, NULL);
        return NULL;
}

void tss_link_close(TssLink *self) {
        GThread *thread = NULL;

        if (!self->bus)
                return;

        g_dbus_connection_signal_unsubscribe(self->bus, self->signals);
        g_dbus_connection_signal_unsubscribe(self->bus, self->names);
        (void) g_dbus_connection_unregister_object(self->bus, self->object);
        g_signal_handler_disconnect(self->bus, self->closed_handler);
        g_cancellable_cancel(self->cancellable);

        /* The last reference closes it, without the task of g_dbus_connection_close(), which a main context
         * that does not run any more would keep. This drops answers that are not written yet, and the service
         * would deliver their connections again, to the next owner of a persistent listener: a thread writes
         * them before. */
        if (self->has_answered)
                thread = g_thread_try_new("tss-flush", flush_and_unref, g_object_ref(self->bus), NULL);
        if (thread)
                g_thread_unref(thread);
        else if (self->has_answered)
                g_object_unref(self->bus);
        g_clear_object(&self->bus);
}
