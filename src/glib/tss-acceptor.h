/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The connections of one listener: it accepts them from the listening socket, or gets them in calls of the
 * service, and delivers them from its main context while there is a use for them. */

#include "glib/tss-local.h"
#include "glib/tss-socket.h"

typedef struct TssAcceptor TssAcceptor;

typedef struct TssAcceptorEvents {
        /* There is a use for a connection. Called in each iteration of the main context, as GObject does not
         * report that a signal gets a handler. */
        gboolean (*wants_connection)(gpointer owner);
        void (*deliver)(gpointer owner, GSocketConnection *connection);
} TssAcceptorEvents;

/* The owner is not referenced, and gets no event after its end. */
TssAcceptor *tss_acceptor_new(GObject *owner, const TssAcceptorEvents *events);
void tss_acceptor_unref(TssAcceptor *self);

/* Consumes socket and gate. socket: NULL: connections come in calls. gate: or NULL. */
void tss_acceptor_start(TssAcceptor *self, GMainContext *context, TssSocket *socket, TssGate *gate);
/* Drops the connections that are not delivered, and the socket, before the service revokes it. */
void tss_acceptor_stop(TssAcceptor *self);

/* A connection in a call of the service, which may come before the start. Consumes fd and the invocation. */
void tss_acceptor_add(TssAcceptor *self, guint64 serial, int fd, GDBusMethodInvocation *invocation);

/* The socket, if servers may accept from it by themselves, or NULL. */
TssSocket *tss_acceptor_get_socket(TssAcceptor *self);
