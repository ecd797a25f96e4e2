/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"

struct TssSocket {
        int fd;
        int shared;      /* the descriptor of the GSocket */
        GSocket *socket; /* owns 'shared' */
        GSocket *inert;
};

static gboolean fail(GError **error, int error_number) {
        g_set_error_literal(error, G_IO_ERROR, (int) g_io_error_from_errno(error_number),
                            g_strerror(error_number));
        return FALSE;
}

GSocket *tss_socket_new_inert(GError **error) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        GSocket *inert;

        if (fd < 0) {
                (void) fail(error, errno);
                return NULL;
        }

        inert = g_socket_new_from_fd(fd, error);
        if (!inert)
                (void) close_fd(fd);
        return inert;
}

static gboolean open_descriptors(TssSocket *self, GError **error) {
        self->inert = tss_socket_new_inert(error);
        if (!self->inert)
                return FALSE;

        self->shared = fcntl(self->fd, F_DUPFD_CLOEXEC, 3);
        if (self->shared < 0)
                return fail(error, errno);

        self->socket = g_socket_new_from_fd(self->shared, error);
        if (!self->socket)
                self->shared = close_fd(self->shared);
        return self->socket != NULL;
}

TssSocket *tss_socket_new(int fd, GError **error) {
        g_autoptr(TssSocket) self = g_new(TssSocket, 1);

        *self = (TssSocket) { .fd = fd, .shared = -EBADF };
        return open_descriptors(self, error) ? g_steal_pointer(&self) : NULL;
}

void tss_socket_free(TssSocket *self) {
        if (self->socket)
                tss_socket_revoke(self);
        g_clear_object(&self->socket);
        g_clear_object(&self->inert);
        (void) close_fd(self->fd);
        g_free(self);
}

GSocket *tss_socket_get(TssSocket *self) {
        return self->socket;
}

int tss_socket_get_fd(TssSocket *self) {
        return self->fd;
}

void tss_socket_set_enabled(TssSocket *self, gboolean enabled) {
        if (self->fd < 0 || g_socket_is_closed(self->socket))
                return;

        if (dup3(enabled ? self->fd : g_socket_get_fd(self->inert), self->shared, O_CLOEXEC) < 0)
                g_critical("Failed to replace a descriptor: %s", g_strerror(errno));
}

void tss_socket_revoke(TssSocket *self) {
        tss_socket_set_enabled(self, FALSE);
        self->fd = close_fd(self->fd);
}
