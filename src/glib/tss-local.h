/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A port that the program binds itself, where the service is not installed. */

#include "glib/tss-options.h"

/* Returns the listening socket, or -1. */
int tss_local_listen(TssOptions *options, guint16 port, GError **error);

/* The numeric address and the port of a listening socket. */
gboolean tss_local_get_address(int fd, char **ret_address, guint16 *ret_port);

/* What the service does with the options allow-from and accept-rate. */
typedef struct TssGate TssGate;

/* Returns NULL, without an error, if all connections pass. */
TssGate *tss_gate_new(TssOptions *options, GError **error);
void tss_gate_free(TssGate *gate);

/* The time of the monotonic clock at which the next connection may be accepted; 0: now. */
gint64 tss_gate_get_ready_time(TssGate *gate);
/* A connection was accepted. Returns whether its peer may connect. */
gboolean tss_gate_admit(TssGate *gate, GSocket *connection);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TssGate, tss_gate_free)
