/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-acceptor.h"

#include <sys/socket.h>

#include "base/macros.h"
#include "base/socket.h"

/* The connections that are accepted in one iteration of the main loop. */
#define BATCH 32U

/* After accept() has failed because of missing descriptors or memory. */
#define EXHAUSTED_USEC (100 * G_TIME_SPAN_MILLISECOND)

/* The context has a reference as long as it dispatches the source. */
struct TssAcceptor {
        GSource source;
        GWeakRef owner;
        const TssAcceptorEvents *events;

        TssSocket *socket; /* NULL: connections come in calls */
        TssGate *gate;
        gpointer tag; /* of the socket in the source; NULL: there is no working socket */
        GIOCondition condition;
        gint64 retry_time; /* of accept(), monotonic */

        GQueue connections; /* of Connection: calls without an answer */
        guint64 last_serial;
        guint64 seen; /* bit N: the connection with the serial last_serial - N came */
};

/* ------------------------------------------------------------------------------------ from the socket */

/* Consumes fd. */
static GSocket *make_socket(int fd) {
        g_autoptr(GError) error = NULL;
        GSocket *socket = g_socket_new_from_fd(fd, &error);

        if (!socket) {
                g_debug("Failed to use a connection: %s", error->message);
                (void) close_fd(fd);
        }
        return socket;
}

static void deliver_socket(TssAcceptor *self, gpointer owner, GSocket *socket) {
        g_autoptr(GSocketConnection) connection = g_socket_connection_factory_create_connection(socket);

        self->events->deliver(owner, connection);
}

static void set_retry_time(TssAcceptor *self, int error_number) {
        switch (socket_classify_accept_error(error_number)) {

        case ACCEPT_EXHAUSTED:
                self->retry_time = g_get_monotonic_time() + EXHAUSTED_USEC;
                break;

        case ACCEPT_BROKEN:
                /* The service has revoked the socket, and has sent a signal before that. Without events,
                 * poll() would still report the socket. */
                g_source_remove_unix_fd(&self->source, g_steal_pointer(&self->tag));
                break;

        default:
                break;
        }
}

/* Returns FALSE if there is no connection, or not now. The socket is NULL if the peer may not connect. */
static gboolean accept_connection(TssAcceptor *self, GSocket **ret) {
        int fd, error_number;

        do {
                fd = accept4(tss_socket_get_fd(self->socket), NULL, NULL, SOCK_CLOEXEC);
                error_number = errno;
        } while (fd < 0 && socket_classify_accept_error(error_number) == ACCEPT_SKIP);

        if (fd < 0) {
                set_retry_time(self, error_number);
                return FALSE;
        }

        *ret = make_socket(fd);
        if (*ret && self->gate && !tss_gate_admit(self->gate, *ret))
                g_clear_object(ret);
        return TRUE;
}

static gint64 get_ready_time(TssAcceptor *self) {
        return MAX(self->retry_time, self->gate ? tss_gate_get_ready_time(self->gate) : 0);
}

static gboolean is_due(TssAcceptor *self) {
        return get_ready_time(self) <= g_get_monotonic_time();
}

static void deliver_accepted(TssAcceptor *self, gpointer owner) {
        for (guint n = 0; n < BATCH && self->tag && self->events->wants_connection(owner) && is_due(self);
             n++) {
                g_autoptr(GSocket) socket = NULL;

                if (!accept_connection(self, &socket))
                        return;
                if (socket)
                        deliver_socket(self, owner, socket);
        }
}

/* ------------------------------------------------------------------------------------------ from calls */

typedef struct Connection {
        guint64 serial;
        int fd;
        GSList *invocations; /* of each process of the service that has made the call */
} Connection;

static void connection_free(Connection *connection) {
        (void) close_fd(connection->fd);
        g_slist_free_full(connection->invocations, g_object_unref);
        g_free(connection);
}

/* After a restart of the service, calls that were not answered are made again. */
static gboolean is_duplicate(TssAcceptor *self, guint64 serial) {
        guint64 distance;

        if (serial > self->last_serial) {
                distance = serial - self->last_serial;
                self->seen = distance < 64 ? self->seen << distance | 1 : 1;
                self->last_serial = serial;
                return FALSE;
        }

        distance = self->last_serial - serial;
        if (distance >= 64)
                return FALSE;
        if (self->seen & G_GUINT64_CONSTANT(1) << distance)
                return TRUE;

        self->seen |= G_GUINT64_CONSTANT(1) << distance;
        return FALSE;
}

static Connection *find_connection(TssAcceptor *self, guint64 serial) {
        for (GList *l = self->connections.head; l; l = l->next)
                if (((Connection *) l->data)->serial == serial)
                        return l->data;

        return NULL;
}

void tss_acceptor_add(TssAcceptor *self, guint64 serial, int fd, GDBusMethodInvocation *invocation) {
        Connection *connection;

        if (g_source_is_destroyed(&self->source)) {
                (void) close_fd(fd);
                g_dbus_method_invocation_return_error_literal(invocation, G_IO_ERROR, G_IO_ERROR_CLOSED,
                                                              "The listener is closed");
                return;
        }
        if (!is_duplicate(self, serial)) {
                connection = g_new(Connection, 1);
                *connection = (Connection) { serial, fd, g_slist_prepend(NULL, invocation) };
                g_queue_push_tail(&self->connections, connection);
                return;
        }

        (void) close_fd(fd);
        connection = find_connection(self, serial);
        /* The bus may deliver the call of the earlier process later. */
        if (connection)
                connection->invocations = g_slist_prepend(connection->invocations, invocation);
        else
                g_dbus_method_invocation_return_value(invocation, NULL);
}

static void deliver_called(TssAcceptor *self, gpointer owner) {
        for (guint n = 0;
             n < BATCH && self->events->wants_connection(owner) && !g_queue_is_empty(&self->connections);
             n++) {
                Connection *connection = g_queue_pop_head(&self->connections);
                g_autoptr(GSocket) socket = make_socket(TAKE_FD(connection->fd));

                for (GSList *l = connection->invocations; l; l = l->next)
                        g_dbus_method_invocation_return_value(g_object_ref(l->data), NULL);
                connection_free(connection);
                if (socket)
                        deliver_socket(self, owner, socket);
        }
}

/* ------------------------------------------------------------------------------------------- the source */

static void watch_socket(TssAcceptor *self, GIOCondition condition) {
        if (self->tag && self->condition != condition)
                g_source_modify_unix_fd(&self->source, self->tag, condition);
        self->condition = condition;
}

static int to_timeout(gint64 time) {
        gint64 left = time - g_get_monotonic_time();

        return (int) CLAMP((left + 999) / 1000, 0, G_MAXINT);
}

static gboolean acceptor_prepare(GSource *source, int *timeout) {
        TssAcceptor *self = (TssAcceptor *) source;
        g_autoptr(GObject) owner = g_weak_ref_get(&self->owner);

        *timeout = -1;
        if (!owner || !self->events->wants_connection(owner)) {
                watch_socket(self, 0);
                return FALSE;
        }
        if (!self->socket)
                return !g_queue_is_empty(&self->connections);

        if (self->tag && !is_due(self)) {
                *timeout = to_timeout(get_ready_time(self));
                watch_socket(self, 0);
        } else
                watch_socket(self, G_IO_IN);
        return FALSE;
}

static gboolean acceptor_check(GSource *source) {
        TssAcceptor *self = (TssAcceptor *) source;

        return self->tag && self->condition != 0 && g_source_query_unix_fd(source, self->tag) != 0;
}

static gboolean acceptor_dispatch(GSource *source, GSourceFunc callback, gpointer user_data) {
        TssAcceptor *self = (TssAcceptor *) source;
        g_autoptr(GObject) owner = g_weak_ref_get(&self->owner);

        if (owner && self->socket)
                deliver_accepted(self, owner);
        else if (owner)
                deliver_called(self, owner);
        return G_SOURCE_CONTINUE;
}

static void acceptor_finalize(GSource *source) {
        TssAcceptor *self = (TssAcceptor *) source;

        g_queue_clear_full(&self->connections, (GDestroyNotify) connection_free);
        g_clear_pointer(&self->socket, tss_socket_free);
        g_clear_pointer(&self->gate, tss_gate_free);
        g_weak_ref_clear(&self->owner);
}

TssAcceptor *tss_acceptor_new(GObject *owner, const TssAcceptorEvents *events) {
        static GSourceFuncs functions = { .prepare = acceptor_prepare,
                                          .check = acceptor_check,
                                          .dispatch = acceptor_dispatch,
                                          .finalize = acceptor_finalize };
        GSource *source = g_source_new(&functions, sizeof(TssAcceptor));
        TssAcceptor *self = (TssAcceptor *) source;

        g_weak_ref_init(&self->owner, owner);
        self->events = events;
        g_queue_init(&self->connections);
        g_source_set_static_name(source, "TssListener");
        return self;
}

void tss_acceptor_unref(TssAcceptor *self) {
        g_source_unref(&self->source);
}

void tss_acceptor_start(TssAcceptor *self, GMainContext *context, TssSocket *socket, TssGate *gate) {
        self->socket = socket;
        self->gate = gate;
        if (socket)
                self->tag = g_source_add_unix_fd(&self->source, tss_socket_get_fd(socket), 0);
        (void) g_source_attach(&self->source, context);
}

void tss_acceptor_stop(TssAcceptor *self) {
        g_source_destroy(&self->source);
        self->tag = NULL;
        if (self->socket)
                tss_socket_revoke(self->socket);
        g_queue_clear_full(&self->connections, (GDestroyNotify) connection_free);
}

TssSocket *tss_acceptor_get_socket(TssAcceptor *self) {
        return self->gate ? NULL : self->socket;
}
