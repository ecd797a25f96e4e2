/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The connection of one listener to the bus.
 *
 * Each listener has a bus connection of its own. The service closes a listener when its owner leaves the bus,
 * so that closing the connection ends a listener, a call of Listen that waits for a password, or the
 * ownership of a persistent listener, in each state. */

#include "glib/tss.h"

typedef struct TssLink TssLink;

/* The callbacks run in the thread-default context of tss_link_new(). */
typedef struct TssLinkEvents {
        /* The service has closed the listener, or the bus is gone. */
        void (*closed)(gpointer owner, TssCloseReason reason, const char *message);
        /* A connection of the delivery "call". Consumes fd and the invocation. */
        void (*connection)(gpointer owner, guint64 serial, int fd, GDBusMethodInvocation *invocation);
} TssLinkEvents;

void tss_bus_connect_async(GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user_data);
GDBusConnection *tss_bus_connect_finish(GAsyncResult *result, GError **error);
GDBusConnection *tss_bus_connect_sync(GCancellable *cancellable, GError **error);

/* Calls a method of the service. If a restart of the service leaves the call unanswered, it is made again.
 * type: of the reply. */
typedef struct TssCall {
        const char *path;
        const char *interface;
        const char *method;
        GVariant *arguments; /* floating, or NULL */
        const char *type;
        gboolean interactive;
} TssCall;

void tss_bus_call_async(GDBusConnection *bus,
                        const TssCall *call,
                        GCancellable *cancellable,
                        GAsyncReadyCallback callback,
                        gpointer user_data);
/* Returns the reply, or NULL and the error of the call. ret_fd: the descriptor in the reply, or NULL. */
GVariant *tss_bus_call_finish(GAsyncResult *result, int *ret_fd, GError **error);

/* A property of a listener; empty if another version of the service does not have it. */
char *tss_bus_get_string(GVariant *properties, const char *name);

/* Consumes the bus connection. The owner is not referenced, and gets no event after its end. */
TssLink *tss_link_new(GDBusConnection *bus, GObject *owner, const TssLinkEvents *events);
/* Leaves the bus, as soon as the calls of tss_bus_call_async() have ended. */
void tss_link_close(TssLink *self);
void tss_link_unref(TssLink *self);

/* NULL after tss_link_close(). */
GDBusConnection *tss_link_get_bus(TssLink *self);

/* The path of the listener, once it is known; events of other listeners are ignored. */
void tss_link_set_path(TssLink *self, const char *path);
const char *tss_link_get_path(TssLink *self);

/* Calls Pause or Resume, and tries it again until the service has succeeded, or the link is closed. */
void tss_link_set_paused(TssLink *self, gboolean paused);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TssLink, tss_link_unref)
