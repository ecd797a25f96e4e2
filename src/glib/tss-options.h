/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/socket.h"
#include "glib/tss.h"

/* The program may change its object during an asynchronous call. */
TssOptions *tss_options_copy(TssOptions *self);

/* What the listening socket of the program itself cannot do: such connections have to be accepted by the
 * service, or by the library. */
gboolean tss_options_need_accept(TssOptions *self);

/* Refuses an empty list of peers, which could mean all of them or none. */
gboolean tss_options_check(TssOptions *self, GError **error);

gboolean tss_options_are_persistent(TssOptions *self);

/* The argument "options" of Listen, floating. self: NULL for the defaults. */
GVariant *tss_options_to_variant(TssOptions *self, const char *delivery);
int tss_options_get_backlog(TssOptions *self);

/* For a socket of the program itself, except for the port. */
gboolean tss_options_to_settings(TssOptions *self, SocketSettings *ret, GError **error);
/* Of GInetAddressMask, or NULL: all peers. */
gboolean tss_options_get_masks(TssOptions *self, GPtrArray **ret, GError **error);
/* Connections per second; 0: no maximum. */
guint tss_options_get_accept_rate(TssOptions *self);
const char *tss_options_get_name(TssOptions *self);
