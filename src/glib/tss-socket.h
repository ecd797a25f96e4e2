/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The listening socket, and the GSocket for servers that accept from it by themselves, which can be switched
 * off.
 *
 * A GSocketListener has no function to remove a socket, and uses all of a processor when a socket is closed
 * or revoked. Switching off therefore replaces the descriptor of the GSocket by that of another socket, which
 * never becomes readable. Other sockets of the same GSocketListener are not affected.
 */

#include "glib/tss.h"

typedef struct TssSocket TssSocket;

/* Consumes fd. Returns NULL if there is no descriptor left, or fd is no socket. */
TssSocket *tss_socket_new(int fd, GError **error);
void tss_socket_free(TssSocket *self);

/* A GSocket on a descriptor of its own. */
GSocket *tss_socket_get(TssSocket *self);

void tss_socket_set_enabled(TssSocket *self, gboolean enabled);
/* For good: no descriptor of the listening socket is left here. */
void tss_socket_revoke(TssSocket *self);

/* A socket that is never readable, nor in an error state: nothing can be sent to it. */
GSocket *tss_socket_new_inert(GError **error);

/* The listening socket, or -1. */
int tss_socket_get_fd(TssSocket *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(TssSocket, tss_socket_free)
