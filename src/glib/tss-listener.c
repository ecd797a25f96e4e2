/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-listener.h"

#include <fcntl.h>

#include "base/macros.h"
#include "base/names.h"
#include "glib/tss-error.h"

#define _(text) tss_gettext(text)

/**
 * TssListener:
 *
 * A TCP port, and the connections of its peers.
 *
 * [func@Tss.listen_async] creates it. Whichever way the connections come, they are ordinary
 * [class@Gio.SocketConnection] objects. A program uses one of these:
 *
 * - [method@Tss.Listener.attach], for [class@Gio.SocketService] and [class@Gio.ThreadedSocketService];
 * - the signal [signal@Tss.Listener::incoming]: connections are accepted while it has a handler;
 * - [method@Tss.Listener.accept_async];
 * - [method@Tss.Listener.get_socket], for `SoupServer`, or [method@Tss.Listener.dup_fd], for servers that do
 * not use GIO.
 *
 * The port belongs to the object: when the program drops the last reference, the port is free, without a
 * signal. An attached server has a reference, and so has a call of [method@Tss.Listener.accept_async] or
 * [method@Tss.Listener.close_async] that waits. A listener ends earlier if the program or an administrator
 * closes it, if the service is stopped, or if the connection to the bus is lost;
 * [signal@Tss.Listener::closed] is then emitted, once. A restart of the service, such as for an upgrade, does
 * not affect the listener.
 *
 * All signals are emitted, and all functions have to be called, in the thread-default main context in which
 * the listener was created. Each listener has its own connection to the system bus.
 */
struct _TssListener {
        GObject parent_instance;

        GMainContext *context;
        TssLink *link; /* NULL: the program has bound the port itself */
        TssAcceptor *acceptor;
        TssListenerState state; /* CLOSED also until it is opened */
        TssCloseReason close_reason;
        char *close_message;
        GError *close_error;    /* of close: the port may still be bound */
        GSource *closed_source; /* waits for a handler of the signal "closed" */
        gboolean is_persistent;
        gboolean is_shared; /* a copy of the listening socket is outside of the library */

        char *address;
        guint16 port;
        char *name;

        GPtrArray *attached; /* of Attached */
        GQueue tasks;        /* of GTask: accept_async */
        GQueue close_tasks;  /* of GTask: close_async */
};

G_DEFINE_FINAL_TYPE(TssListener, tss_listener, G_TYPE_OBJECT)

enum {
        PROP_0,
        PROP_PORT,
        PROP_ADDRESS,
        PROP_NAME,
        PROP_STATE,
        PROP_CLOSE_REASON,
        PROP_IS_LOCAL,
        N_PROPERTIES,
};

static GParamSpec *properties[N_PROPERTIES];

enum {
        INCOMING,
        CLOSED,
        N_SIGNALS
};

static guint signals[N_SIGNALS];

/* A GSocketListener, which has a reference to the TssListener. A GThreadedSocketService may be finalized in
 * one of its threads. */
typedef struct Attached {
        TssListener *self;
        GWeakRef listener;
        GThread *thread; /* that uses the TssListener */
        GObject *source_object;
        char *key;
        gulong active_handler; /* of a GSocketService */
} Attached;

/* ---------------------------------------------------------------------------------------- the connections */

/* The library accepts for a GSocketService, which may lose a connection when it is stopped or gets another
 * socket, and uses all of a processor when its socket is revoked. Returns a reference. */
static GSocketListener *find_active_service(TssListener *self, GObject **ret_source_object) {
        for (guint i = 0; i < self->attached->len; i++) {
                Attached *attached = self->attached->pdata[i];
                g_autoptr(GSocketListener) listener = g_weak_ref_get(&attached->listener);

                if (listener && G_IS_SOCKET_SERVICE(listener) &&
                    g_socket_service_is_active(G_SOCKET_SERVICE(listener))) {
                        (void) g_set_object(ret_source_object, attached->source_object);
                        return g_steal_pointer(&listener);
                }
        }

        return NULL;
}

static gboolean has_active_service(TssListener *self) {
        g_autoptr(GObject) source_object = NULL;
        g_autoptr(GSocketListener) service = find_active_service(self, &source_object);

        return service != NULL;
}

static gboolean wants_connection(gpointer owner) {
        TssListener *self = owner;

        return self->state == TSS_LISTENER_STATE_LISTENING &&
               (!g_queue_is_empty(&self->tasks) || has_active_service(self) ||
                g_signal_has_handler_pending(self, signals[INCOMING], 0, FALSE));
}

static void deliver(gpointer owner, GSocketConnection *connection) {
        TssListener *self = owner;
        g_autoptr(GSocketListener) service = NULL;
        g_autoptr(GObject) source_object = NULL;
        gboolean handled = FALSE;
        GTask *task;

        task = g_queue_pop_head(&self->tasks);
        if (task) {
                g_task_return_pointer(task, g_object_ref(connection), g_object_unref);
                g_object_unref(task);
                return;
        }

        service = find_active_service(self, &source_object);
        if (service)
                g_signal_emit_by_name(service, "incoming", connection, source_object, &handled);
        else
                g_signal_emit(self, signals[INCOMING], 0, connection);
}

/* -------------------------------------------------------------------------------------- attached servers */

static void attached_free(Attached *attached) {
        g_autoptr(TssListener) self = attached->self;
        g_autoptr(GObject) listener = g_weak_ref_get(&attached->listener);

        (void) g_ptr_array_remove(self->attached, attached);
        if (listener && attached->active_handler > 0)
                g_signal_handler_disconnect(listener, attached->active_handler);
        g_weak_ref_clear(&attached->listener);
        g_thread_unref(attached->thread);
        g_clear_object(&attached->source_object);
        g_free(attached->key);
        g_free(attached);
}

static gboolean on_ended(gpointer attached) {
        attached_free(attached);
        return G_SOURCE_REMOVE;
}

/* The server ends, or is detached. */
static void attached_end(gpointer data) {
        g_autoptr(GSource) source = NULL;
        Attached *attached = data;

        if (attached->thread == g_thread_self()) {
                attached_free(attached);
                return;
        }

        source = g_idle_source_new();
        g_source_set_priority(source, G_PRIORITY_DEFAULT);
        g_source_set_callback(source, on_ended, attached, NULL);
        (void) g_source_attach(source, attached->self->context);
}

/* A GThreadedSocketService starts again in one of its threads. */
static void on_active(GSocketService *service, GParamSpec *pspec, gpointer context) {
        g_main_context_wakeup(context);
}

static void unref_context(gpointer context, GClosure *closure) {
        g_main_context_unref(context);
}

static void tss_listener_detach_all(TssListener *self) {
        while (self->attached->len > 0) {
                Attached *attached = g_ptr_array_steal_index(self->attached, 0);
                g_autoptr(GObject) listener = g_weak_ref_get(&attached->listener);
                g_autofree char *key = g_strdup(attached->key);

                if (listener)
                        g_object_set_data(listener, key, NULL);
        }
}

/* For the servers that accept from the socket by themselves. */
static void tss_listener_set_socket_enabled(TssListener *self, gboolean enabled) {
        TssSocket *socket = tss_acceptor_get_socket(self->acceptor);

        if (socket)
                tss_socket_set_enabled(socket, enabled);
}

/* --------------------------------------------------------------------------------------- cancelled tasks */

/* The task is in a queue, or has its result already. */
static gboolean on_cancelled(GCancellable *cancellable, gpointer user_data) {
        GTask *task = user_data;
        TssListener *self = g_task_get_source_object(task);

        if (g_queue_remove(&self->tasks, task) || g_queue_remove(&self->close_tasks, task)) {
                (void) g_task_return_error_if_cancelled(task);
                g_object_unref(task);
        }
        return G_SOURCE_REMOVE;
}

static void destroy_source(gpointer source, GClosure *closure) {
        g_source_destroy(source);
        g_source_unref(source);
}

static void on_completed(GTask *task, GParamSpec *pspec, gpointer source) {
        g_source_destroy(source);
}

static void watch_cancellable(GTask *task) {
        GSource *source;

        if (!g_task_get_cancellable(task))
                return;

        source = g_cancellable_source_new(g_task_get_cancellable(task));
        g_task_attach_source(task, source, G_SOURCE_FUNC(on_cancelled));
        g_signal_connect_data(task, "notify::completed", G_CALLBACK(on_completed), source, destroy_source, 0);
}

/* ------------------------------------------------------------------------------------------------ the end */

static void set_state(TssListener *self, TssListenerState state) {
        self->state = state;
        g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_STATE]);
}

/* The program may have no handler of "closed". */
static void set_closed_error(TssListener *self, GError **error) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_CLOSED,
                            self->close_message ?: _("The program has closed the port"));
}

static gboolean check_open(TssListener *self, GError **error) {
        if (self->state != TSS_LISTENER_STATE_CLOSING && self->state != TSS_LISTENER_STATE_CLOSED)
                return TRUE;

        set_closed_error(self, error);
        return FALSE;
}

static void tss_listener_fail_tasks(TssListener *self) {
        GTask *task;

        while ((task = g_queue_pop_head(&self->tasks))) {
                GError *error = NULL;

                set_closed_error(self, &error);
                g_task_return_error(task, error);
                g_object_unref(task);
        }
}

static void tss_listener_emit_closed(TssListener *self) {
        g_signal_emit(self, signals[CLOSED], 0, self->close_reason, self->close_message);
}

typedef struct ClosedSource {
        GSource source;
        GWeakRef listener;
} ClosedSource;

static gboolean closed_prepare(GSource *source, int *timeout) {
        g_autoptr(TssListener) self = g_weak_ref_get(&((ClosedSource *) source)->listener);

        *timeout = -1;
        return self && g_signal_has_handler_pending(self, signals[CLOSED], 0, TRUE);
}

static gboolean closed_dispatch(GSource *source, GSourceFunc callback, gpointer user_data) {
        g_autoptr(TssListener) self = g_weak_ref_get(&((ClosedSource *) source)->listener);

        if (self)
                tss_listener_emit_closed(self);
        return G_SOURCE_REMOVE;
}

static void closed_finalize(GSource *source) {
        g_weak_ref_clear(&((ClosedSource *) source)->listener);
}

/* GObject does not report that a signal gets a handler, so each iteration of the main context looks for one.
 * A program that awaits the listener connects its handler some iterations after the result. */
static void tss_listener_tell_closed(TssListener *self) {
        static GSourceFuncs functions = { .prepare = closed_prepare,
                                          .dispatch = closed_dispatch,
                                          .finalize = closed_finalize };

        if (g_signal_has_handler_pending(self, signals[CLOSED], 0, TRUE)) {
                tss_listener_emit_closed(self);
                return;
        }

        self->closed_source = g_source_new(&functions, sizeof(ClosedSource));
        g_weak_ref_init(&((ClosedSource *) self->closed_source)->listener, self);
        (void) g_source_attach(self->closed_source, self->context);
}

static void tss_listener_set_closed(TssListener *self, TssCloseReason reason, const char *message) {
        g_autoptr(TssListener) kept = g_object_ref(self);
        gboolean is_own = self->state == TSS_LISTENER_STATE_CLOSING;

        if (self->state == TSS_LISTENER_STATE_CLOSED)
                return;

        self->state = TSS_LISTENER_STATE_CLOSED;
        self->close_reason = reason;
        self->close_message = g_strdup(message);
        if (self->is_persistent && reason == TSS_CLOSE_REASON_DISCONNECTED)
                g_set_error_literal(
                                &self->close_error, G_IO_ERROR, G_IO_ERROR_CLOSED,
                                _("The connection to the bus is lost. The port may still be in use by the service"));
        tss_acceptor_stop(self->acceptor);
        tss_listener_detach_all(self);
        tss_listener_fail_tasks(self);

        g_object_freeze_notify(G_OBJECT(self));
        g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_STATE]);
        g_object_notify_by_pspec(G_OBJECT(self), properties[PROP_CLOSE_REASON]);
        g_object_thaw_notify(G_OBJECT(self));
        tss_listener_tell_closed(self);

        /* The service revokes the socket when its owner leaves the bus, or after a second. The program may
         * need that second to stop a server of its own. */
        if (self->link && (!self->is_shared || is_own))
                tss_link_close(self->link);
}

static void on_link_closed(gpointer owner, TssCloseReason reason, const char *message) {
        TssListener *self = owner;

        if (self->state == TSS_LISTENER_STATE_CLOSED && self->close_reason == TSS_CLOSE_REASON_NONE) {
                /* tss_listener_open() fails. */
                self->close_reason = reason;
                self->close_message = g_strdup(message);
        } else if (reason == TSS_CLOSE_REASON_OWNER && self->state != TSS_LISTENER_STATE_CLOSING)
                /* It is persistent, and each program of its user may close it. */
                tss_listener_set_closed(self, reason, _("Another program of the user has closed the port"));
        else
                tss_listener_set_closed(self, reason, message);
}

static void on_link_connection(gpointer owner, guint64 serial, int fd, GDBusMethodInvocation *invocation) {
        TssListener *self = owner;

        tss_acceptor_add(self->acceptor, serial, fd, invocation);
}

/* ------------------------------------------------------------------------------------------- the object */

static void tss_listener_dispose(GObject *object) {
        TssListener *self = TSS_LISTENER(object);

        self->state = TSS_LISTENER_STATE_CLOSED;
        tss_acceptor_stop(self->acceptor);
        tss_listener_detach_all(self);
        tss_listener_fail_tasks(self);
        if (self->closed_source)
                g_source_destroy(self->closed_source);
        g_clear_pointer(&self->closed_source, g_source_unref);
        if (self->link)
                tss_link_close(self->link);
        G_OBJECT_CLASS(tss_listener_parent_class)->dispose(object);
}

static void tss_listener_finalize(GObject *object) {
        TssListener *self = TSS_LISTENER(object);

        g_clear_pointer(&self->link, tss_link_unref);
        tss_acceptor_unref(self->acceptor);
        g_ptr_array_unref(self->attached);
        g_clear_pointer(&self->context, g_main_context_unref);
        g_free(self->close_message);
        g_clear_error(&self->close_error);
        g_free(self->address);
        g_free(self->name);
        G_OBJECT_CLASS(tss_listener_parent_class)->finalize(object);
}

static void tss_listener_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec) {
        TssListener *self = TSS_LISTENER(object);

        switch (id) {

        case PROP_PORT:
                g_value_set_uint(value, self->port);
                break;
        case PROP_ADDRESS:
                g_value_set_string(value, self->address);
                break;
        case PROP_NAME:
                g_value_set_string(value, self->name);
                break;
        case PROP_STATE:
                g_value_set_enum(value, (int) self->state);
                break;
        case PROP_CLOSE_REASON:
                g_value_set_enum(value, (int) self->close_reason);
                break;
        case PROP_IS_LOCAL:
                g_value_set_boolean(value, tss_listener_get_is_local(self));
                break;
        default:
                G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
        }
}

static void tss_listener_class_init(TssListenerClass *class) {
        const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;
        GObjectClass *object_class = G_OBJECT_CLASS(class);

        object_class->dispose = tss_listener_dispose;
        object_class->finalize = tss_listener_finalize;
        object_class->get_property = tss_listener_get_property;

        /**
         * TssListener:port: (getter get_port)
         *
         * The bound port.
         */
        properties[PROP_PORT] = g_param_spec_uint("port", NULL, NULL, 0, G_MAXUINT16, 0, flags);

        /**
         * TssListener:address: (getter get_address)
         *
         * The bound address, numeric.
         */
        properties[PROP_ADDRESS] = g_param_spec_string("address", NULL, NULL, NULL, flags);

        /**
         * TssListener:name: (getter get_name)
         *
         * The option [property@Tss.Options:name]; empty by default.
         */
        properties[PROP_NAME] = g_param_spec_string("name", NULL, NULL, NULL, flags);

        /**
         * TssListener:state: (getter get_state)
         *
         * Whether the listener accepts connections.
         */
        properties[PROP_STATE] = g_param_spec_enum("state", NULL, NULL, TSS_TYPE_LISTENER_STATE,
                                                   TSS_LISTENER_STATE_CLOSED, flags);

        /**
         * TssListener:close-reason: (getter get_close_reason)
         *
         * The reason why the listener is closed; %TSS_CLOSE_REASON_NONE if it is not.
         */
        properties[PROP_CLOSE_REASON] = g_param_spec_enum("close-reason", NULL, NULL, TSS_TYPE_CLOSE_REASON,
                                                          TSS_CLOSE_REASON_NONE, flags);

        /**
         * TssListener:is-local: (getter get_is_local)
         *
         * Whether the program has bound the port itself, because the service is not installed.
         */
        properties[PROP_IS_LOCAL] = g_param_spec_boolean("is-local", NULL, NULL, FALSE, flags);

        g_object_class_install_properties(object_class, N_PROPERTIES, properties);

        /**
         * TssListener::incoming:
         * @self: the listener
         * @connection: the connection
         *
         * A peer has connected. Connections are accepted while the signal has a handler. The handler keeps a
         * reference to the connection to use it later; otherwise it is closed.
         */
        signals[INCOMING] = g_signal_new("incoming", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL,
                                         NULL, NULL, G_TYPE_NONE, 1, G_TYPE_SOCKET_CONNECTION);

        /**
         * TssListener::closed:
         * @self: the listener
         * @reason: the reason
         * @message: a translated sentence for the user of the program
         *
         * The listener is closed, also by [method@Tss.Listener.close_async]. Emitted once: at once, or, if it
         * has no handler then, after the first one is connected. Attached servers have stopped accepting from
         * it. A program that uses [method@Tss.Listener.dup_fd] stops accepting in the handler: a second
         * later, the socket is revoked, and stays readable for ever.
         */
        signals[CLOSED] = g_signal_new("closed", G_TYPE_FROM_CLASS(class), G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                       NULL, G_TYPE_NONE, 2, TSS_TYPE_CLOSE_REASON, G_TYPE_STRING);
}

static void tss_listener_init(TssListener *self) {
        static const TssAcceptorEvents events = { .wants_connection = wants_connection, .deliver = deliver };

        self->state = TSS_LISTENER_STATE_CLOSED;
        self->attached = g_ptr_array_new();
        g_queue_init(&self->tasks);
        g_queue_init(&self->close_tasks);
        self->acceptor = tss_acceptor_new(G_OBJECT(self), &events);
}

TssListener *tss_listener_new(GDBusConnection *bus, GMainContext *context) {
        static const TssLinkEvents events = { .closed = on_link_closed, .connection = on_link_connection };
        TssListener *self = g_object_new(TSS_TYPE_LISTENER, NULL);

        self->context = context ? g_main_context_ref(context) : NULL;
        if (bus)
                self->link = tss_link_new(bus, G_OBJECT(self), &events);
        return self;
}

TssLink *tss_listener_get_link(TssListener *self) {
        return self->link;
}

gboolean tss_listener_open(TssListener *self, const TssListenerSetup *setup, GError **error) {
        self->address = setup->address;
        self->port = setup->port;
        self->name = setup->name;
        self->is_persistent = setup->persistent;

        tss_acceptor_start(self->acceptor, self->context, setup->socket, setup->gate);
        if (self->close_reason != TSS_CLOSE_REASON_NONE) {
                set_closed_error(self, error);
                return FALSE;
        }

        self->state = TSS_LISTENER_STATE_LISTENING;
        return TRUE;
}

/**
 * tss_listener_get_port: (get-property port)
 * @self: the listener
 *
 * Returns: the bound port
 */
guint16 tss_listener_get_port(TssListener *self) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), 0);

        return self->port;
}

/**
 * tss_listener_get_address: (get-property address)
 * @self: the listener
 *
 * Returns: the bound address, numeric
 */
const char *tss_listener_get_address(TssListener *self) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), NULL);

        return self->address;
}

/**
 * tss_listener_get_name: (get-property name)
 * @self: the listener
 *
 * Returns: the option [property@Tss.Options:name]; empty by default
 */
const char *tss_listener_get_name(TssListener *self) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), NULL);

        return self->name;
}

/**
 * tss_listener_get_state: (get-property state)
 * @self: the listener
 *
 * Returns: whether the listener accepts connections
 */
TssListenerState tss_listener_get_state(TssListener *self) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), TSS_LISTENER_STATE_CLOSED);

        return self->state;
}

/**
 * tss_listener_get_close_reason: (get-property close-reason)
 * @self: the listener
 *
 * Returns: the reason why the listener is closed; %TSS_CLOSE_REASON_NONE if it is not
 */
TssCloseReason tss_listener_get_close_reason(TssListener *self) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), TSS_CLOSE_REASON_NONE);

        return self->close_reason;
}

/**
 * tss_listener_get_is_local: (get-property is-local)
 * @self: the listener
 *
 * Returns: whether the program has bound the port itself, because the service is not installed
 */
gboolean tss_listener_get_is_local(TssListener *self) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), FALSE);

        return !self->link;
}

/* ------------------------------------------------------------------------------------------- connections */

static gboolean check_socket(TssListener *self, GError **error) {
        if (!check_open(self, error))
                return FALSE;
        if (tss_acceptor_get_socket(self->acceptor))
                return TRUE;

        g_set_error_literal(
                        error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                        _("The listening socket is not available with these options or this configuration of "
                          "the service; the program has to accept connections with the library"));
        return FALSE;
}

/**
 * tss_listener_attach:
 * @self: the listener
 * @listener: a server
 * @source_object: (nullable): an object that identifies the listener, as in
 * [method@Gio.SocketListener.add_socket]
 * @error: return location for an error
 *
 * Lets a server accept the connections.
 *
 * @listener keeps a reference to @self until @self is closed. It then continues with its other sockets.
 *
 * A [class@Gio.SocketService] works with all options. While it is active, the library emits its signal
 * [signal@Gio.SocketService::incoming], in the main context of @self. Another [class@Gio.SocketListener]
 * needs the listening socket, as [method@Tss.Listener.get_socket] does.
 *
 * Returns: whether the server accepts the connections
 */
gboolean tss_listener_attach(TssListener *self,
                             GSocketListener *listener,
                             GObject *source_object,
                             GError **error) {
        g_autoptr(GSocket) socket = NULL;
        Attached *attached;

        g_return_val_if_fail(TSS_IS_LISTENER(self), FALSE);
        g_return_val_if_fail(G_IS_SOCKET_LISTENER(listener), FALSE);
        g_return_val_if_fail(!source_object || G_IS_OBJECT(source_object), FALSE);

        if (!check_open(self, error))
                return FALSE;
        /* A GSocketService without a socket waits for ever, also after it was stopped, and is never freed. */
        if (G_IS_SOCKET_SERVICE(listener))
                socket = tss_socket_new_inert(error);
        else
                (void) g_set_object(&socket, tss_listener_get_socket(self, error));
        if (!socket || !g_socket_listener_add_socket(listener, socket, source_object, error))
                return FALSE;

        attached = g_new0(Attached, 1);
        attached->self = g_object_ref(self);
        attached->thread = g_thread_ref(g_thread_self());
        g_weak_ref_init(&attached->listener, listener);
        (void) g_set_object(&attached->source_object, source_object);
        attached->key = g_strdup_printf("tss-listener-%p", attached);
        if (G_IS_SOCKET_SERVICE(listener))
                attached->active_handler = g_signal_connect_data(
                                listener, "notify::active", G_CALLBACK(on_active),
                                g_main_context_ref(self->context), unref_context, 0);
        g_ptr_array_add(self->attached, attached);
        g_object_set_data_full(G_OBJECT(listener), attached->key, attached, attached_end);
        g_main_context_wakeup(self->context);
        return TRUE;
}

/**
 * tss_listener_get_socket:
 * @self: the listener
 * @error: return location for an error
 *
 * Returns the listening socket, for servers such as `SoupServer`, which has `soup_server_listen_socket()`.
 *
 * The socket becomes useless when the listener is closed: there are no more connections, but also no errors.
 * [method@Tss.Listener.pause] does the same until [method@Tss.Listener.resume].
 *
 * Fails with %G_IO_ERROR_NOT_SUPPORTED if the program has to accept by the library: with the options
 * [property@Tss.Options:allow-from] and [property@Tss.Options:accept-rate], and if the administrator does not
 * let programs have listening sockets (`AllowSocketDelivery=no`). `soup_server_accept_iostream()` works then,
 * in a handler of [signal@Tss.Listener::incoming].
 *
 * Returns: (transfer none): the socket, which belongs to the listener
 */
GSocket *tss_listener_get_socket(TssListener *self, GError **error) {
        g_return_val_if_fail(TSS_IS_LISTENER(self), NULL);

        return check_socket(self, error) ? tss_socket_get(tss_acceptor_get_socket(self->acceptor)) : NULL;
}

/**
 * tss_listener_dup_fd:
 * @self: the listener
 * @error: return location for an error
 *
 * Returns a descriptor of the listening socket, for servers that do not use GIO, such as those of Python's
 * asyncio. The program closes it, and has to do so in a handler of [signal@Tss.Listener::closed].
 * [method@Tss.Listener.pause] has no effect on it.
 *
 * Fails as [method@Tss.Listener.get_socket] does.
 *
 * Returns: the descriptor, which is non-blocking and close-on-exec, or -1
 */
int tss_listener_dup_fd(TssListener *self, GError **error) {
        int fd;

        g_return_val_if_fail(TSS_IS_LISTENER(self), -1);

        if (!check_socket(self, error))
                return -1;

        fd = fcntl(tss_socket_get_fd(tss_acceptor_get_socket(self->acceptor)), F_DUPFD_CLOEXEC, 3);
        if (fd < 0) {
                g_set_error_literal(error, G_IO_ERROR, (int) g_io_error_from_errno(errno), g_strerror(errno));
                return -1;
        }

        self->is_shared = TRUE;
        return fd;
}

/**
 * tss_listener_accept_async:
 * @self: the listener
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async): called when there is a connection, or when the listener is closed
 * @user_data: for @callback
 *
 * Waits for a connection. Several calls can wait, and are served in order.
 */
void tss_listener_accept_async(TssListener *self,
                               GCancellable *cancellable,
                               GAsyncReadyCallback callback,
                               gpointer user_data) {
        GError *error = NULL;
        GTask *task;

        g_return_if_fail(TSS_IS_LISTENER(self));

        task = g_task_new(self, cancellable, callback, user_data);
        /* on_cancelled() reports it. Otherwise a connection that was accepted before that would be lost. */
        g_task_set_check_cancellable(task, FALSE);
        g_task_set_source_tag(task, tss_listener_accept_async);
        if (!check_open(self, &error) || g_cancellable_set_error_if_cancelled(cancellable, &error)) {
                g_task_return_error(task, error);
                g_object_unref(task);
                return;
        }

        watch_cancellable(task);
        g_queue_push_tail(&self->tasks, task);
        g_main_context_wakeup(self->context);
}

/**
 * tss_listener_accept_finish:
 * @self: the listener
 * @result: the result that the callback got
 * @error: return location for an error
 *
 * Fails with %G_IO_ERROR_CLOSED when the listener is closed, for the reason that
 * [property@Tss.Listener:close-reason] has.
 *
 * Returns: (transfer full): the connection
 */
GSocketConnection *tss_listener_accept_finish(TssListener *self, GAsyncResult *result, GError **error) {
        g_return_val_if_fail(g_task_is_valid(result, self), NULL);
        g_return_val_if_fail(g_async_result_is_tagged(result, tss_listener_accept_async), NULL);

        return g_task_propagate_pointer(G_TASK(result), error);
}

/* --------------------------------------------------------------------------------------- pause and resume */

/* With connections in calls, the service accepts. */
static void tss_listener_send_pause(TssListener *self) {
        if (self->link && !tss_acceptor_get_socket(self->acceptor) && check_open(self, NULL))
                tss_link_set_paused(self->link, self->state == TSS_LISTENER_STATE_PAUSED);
}

/**
 * tss_listener_pause:
 * @self: the listener
 *
 * Stops accepting. The port stays bound, and the kernel queues connections up to the backlog. Attached
 * servers stop for this listener only. Does nothing if the listener is paused or closed.
 */
void tss_listener_pause(TssListener *self) {
        g_autoptr(TssListener) kept = NULL;

        g_return_if_fail(TSS_IS_LISTENER(self));

        if (self->state != TSS_LISTENER_STATE_LISTENING)
                return;

        kept = g_object_ref(self);
        tss_listener_set_socket_enabled(self, FALSE);
        set_state(self, TSS_LISTENER_STATE_PAUSED);
        tss_listener_send_pause(self);
}

/**
 * tss_listener_resume:
 * @self: the listener
 *
 * Continues accepting, starting with the connections in the kernel's queue. Does nothing if the listener is
 * not paused.
 */
void tss_listener_resume(TssListener *self) {
        g_autoptr(TssListener) kept = NULL;

        g_return_if_fail(TSS_IS_LISTENER(self));

        if (self->state != TSS_LISTENER_STATE_PAUSED)
                return;

        kept = g_object_ref(self);
        tss_listener_set_socket_enabled(self, TRUE);
        set_state(self, TSS_LISTENER_STATE_LISTENING);
        tss_listener_send_pause(self);
}

/* ------------------------------------------------------------------------------------------------- close */

static gboolean check_free(TssListener *self, GError **error) {
        if (self->close_error)
                g_propagate_error(error, g_error_copy(self->close_error));
        return !self->close_error;
}

static void return_closed(TssListener *self, GTask *task) {
        GError *error = NULL;

        if (check_free(self, &error))
                g_task_return_boolean(task, TRUE);
        else
                g_task_return_error(task, error);
        g_object_unref(task);
}

/* Consumes the error of Close, or NULL. */
static void tss_listener_finish_close(TssListener *self, GError *error) {
        GTask *task;

        /* Leaving the bus closes each listener that is not persistent. */
        if (!error || !self->is_persistent || self->state == TSS_LISTENER_STATE_CLOSED ||
            tss_error_is_no_listener(error)) {
                g_clear_error(&error);
                tss_listener_set_closed(self, TSS_CLOSE_REASON_OWNER, _("The program has closed the port"));
        } else if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CLOSED)) {
                g_autoptr(GError) failure = tss_error_from_call(error, &(TssSubject) { .port = self->port });

                tss_listener_set_closed(self, TSS_CLOSE_REASON_DISCONNECTED, failure->message);
        } else {
                self->close_error = tss_error_from_call(error, &(TssSubject) { .port = self->port });
                tss_listener_set_closed(self, TSS_CLOSE_REASON_ERROR, self->close_error->message);
        }

        while ((task = g_queue_pop_head(&self->close_tasks)))
                return_closed(self, task);
}

static void on_close_answered(GObject *source, GAsyncResult *result, gpointer user_data) {
        g_autoptr(TssListener) self = user_data;
        g_autoptr(GVariant) reply = NULL;
        GError *error = NULL;

        reply = tss_bus_call_finish(result, NULL, &error);
        tss_listener_finish_close(self, error);
}

static void tss_listener_call_close(TssListener *self,
                                    GCancellable *cancellable,
                                    GAsyncReadyCallback callback,
                                    gpointer user_data) {
        tss_bus_call_async(tss_link_get_bus(self->link),
                           &(TssCall) { .path = tss_link_get_path(self->link),
                                        .interface = LISTENER_INTERFACE,
                                        .method = "Close",
                                        .type = "()" },
                           cancellable, callback, user_data);
}

/* Returns whether the service has to close it. */
static gboolean tss_listener_begin_close(TssListener *self) {
        if (check_open(self, NULL)) {
                set_state(self, TSS_LISTENER_STATE_CLOSING);
                tss_acceptor_stop(self->acceptor);
        }
        /* A handler of notify::state may have closed the listener. */
        if (self->state == TSS_LISTENER_STATE_CLOSING && !self->link)
                tss_listener_finish_close(self, NULL);
        return self->state == TSS_LISTENER_STATE_CLOSING;
}

/**
 * tss_listener_close_async:
 * @self: the listener
 * @cancellable: (nullable): a cancellable, which ends the wait, not the close
 * @callback: (nullable) (scope async): called when the port is free
 * @user_data: for @callback
 *
 * Closes the listener, which accepts nothing from now on. Connections stay open.
 */
void tss_listener_close_async(TssListener *self,
                              GCancellable *cancellable,
                              GAsyncReadyCallback callback,
                              gpointer user_data) {
        GTask *task;

        g_return_if_fail(TSS_IS_LISTENER(self));

        task = g_task_new(self, cancellable, callback, user_data);
        g_task_set_source_tag(task, tss_listener_close_async);
        if (self->state == TSS_LISTENER_STATE_CLOSED) {
                return_closed(self, task);
                return;
        }

        watch_cancellable(task);
        g_queue_push_tail(&self->close_tasks, task);
        /* The answer to the earlier call is that of this one. */
        if (self->state == TSS_LISTENER_STATE_CLOSING)
                return;

        if (tss_listener_begin_close(self))
                tss_listener_call_close(self, NULL, on_close_answered, g_object_ref(self));
}

/**
 * tss_listener_close_finish:
 * @self: the listener
 * @result: the result that the callback got
 * @error: return location for an error
 *
 * Fails with %G_IO_ERROR_CLOSED if the connection to the bus was lost: a persistent listener may still exist.
 *
 * Returns: whether the port is free
 */
gboolean tss_listener_close_finish(TssListener *self, GAsyncResult *result, GError **error) {
        g_return_val_if_fail(g_task_is_valid(result, self), FALSE);
        g_return_val_if_fail(g_async_result_is_tagged(result, tss_listener_close_async), FALSE);

        return g_task_propagate_boolean(G_TASK(result), error);
}

static void on_result(GObject *source, GAsyncResult *result, gpointer user_data) {
        *(GAsyncResult **) user_data = g_object_ref(result);
}

/**
 * tss_listener_close_sync:
 * @self: the listener
 * @cancellable: (nullable): a cancellable, which ends the wait, not the close
 * @error: return location for an error
 *
 * Closes the listener, and waits until the port is free. Handlers of its signals run before the function
 * returns; others do not run.
 *
 * Returns: whether the port is free
 */
gboolean tss_listener_close_sync(TssListener *self, GCancellable *cancellable, GError **error) {
        g_autoptr(TssListener) kept = NULL;
        g_autoptr(GMainContext) context = NULL;
        g_autoptr(GAsyncResult) result = NULL;
        g_autoptr(GVariant) reply = NULL;
        GError *call_error = NULL;

        g_return_val_if_fail(TSS_IS_LISTENER(self), FALSE);

        kept = g_object_ref(self);
        if (!tss_listener_begin_close(self))
                return check_free(self, error);

        /* Only the call runs in this context, as it never runs again: handlers may start asynchronous calls.
         */
        context = g_main_context_new();
        g_main_context_push_thread_default(context);
        tss_listener_call_close(self, cancellable, on_result, &result);
        while (!result)
                (void) g_main_context_iteration(context, TRUE);
        g_main_context_pop_thread_default(context);

        reply = tss_bus_call_finish(result, NULL, &call_error);
        if (g_error_matches(call_error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) {
                tss_listener_call_close(self, NULL, on_close_answered, g_object_ref(self));
                g_propagate_error(error,
                                  tss_error_from_call(call_error, &(TssSubject) { .port = self->port }));
                return FALSE;
        }

        tss_listener_finish_close(self, call_error);
        return check_free(self, error);
}
