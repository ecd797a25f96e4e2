/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "glib/tss-acceptor.h"
#include "glib/tss-link.h"

/* Not open yet. Its signals come in the context, which is the thread-default one if there is a bus
 * connection. bus: consumed; NULL: the program binds the port itself. */
TssListener *tss_listener_new(GDBusConnection *bus, GMainContext *context);

TssLink *tss_listener_get_link(TssListener *self);

typedef struct TssListenerSetup {
        char *address;
        guint16 port;
        char *name;
        TssSocket *socket; /* NULL: connections come in calls */
        TssGate *gate;     /* or NULL */
        gboolean persistent;
} TssListenerSetup;

/* Consumes all members. Fails if the listener was closed in the meantime. */
gboolean tss_listener_open(TssListener *self, const TssListenerSetup *setup, GError **error);
