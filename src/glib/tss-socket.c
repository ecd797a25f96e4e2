/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "glib/tss-socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"

struct TssSocket {
        int fd;
        int inert;       /* never readable, nor in an error state: nothing can be sent to it */
        int shared;      /* the descriptor of the GSocket */
        GSocket *socket; /* owns 'shared' */
};

static gboolean fail(GError **error, int error_number) {
        g_set_error_literal(error, G_IO_ERROR, (int) g_io_error_from_errno(error_number),
                            g_strerror(error_number));
        return FALSE;
}

static gboolean open_descriptors(TssSocket *self, GError **error) {
        self->inert = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (self->inert < 0)
                return fail(error, errno);

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

        *self = (TssSocket) { .fd = fd, .inert = -EBADF, .shared = -EBADF };
        return open_descriptors(self, error) ? g_steal_pointer(&self) : NULL;
}

void tss_socket_free(TssSocket *self) {
        if (self->socket)
                tss_socket_revoke(self);
        g_clear_object(&self->socket);
        (void) close_fd(self->inert);
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

        if (dup3(enabled ? self->fd : self->inert, self->shared, O_CLOEXEC) < 0)
                g_critical("Failed to replace a descriptor: %s", g_strerror(errno));
}

void tss_socket_revoke(TssSocket *self) {
        tss_socket_set_enabled(self, FALSE);
        self->fd = close_fd(self->fd);
}
