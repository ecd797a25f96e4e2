/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "base/macros.h"
#include "daemon/store/fd-store.h"
#include "daemon/store/packet.h"

/* sd_pid_notify_with_fds() waits when the queue of its receiver is full, so this is our own. */
struct FdStore {
        int socket;
        struct sockaddr_un address;
        socklen_t size;
};

DEFINE_CLEANUP(FdStore, fd_store_free)

int fd_store_new(FdStore **ret) {
        _cleanup_(fd_store_freep) FdStore *store = NULL;
        const char *path = getenv("NOTIFY_SOCKET");
        size_t length;

        if (!path || (path[0] != '/' && path[0] != '@'))
                return -ENOTSUP;
        length = strlen(path);
        if (length >= sizeof(store->address.sun_path))
                return -ENOTSUP;

        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;

        store->address.sun_family = AF_UNIX;
        memcpy(store->address.sun_path, path, length);
        if (path[0] == '@')
                store->address.sun_path[0] = '\0';
        store->size = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));

        store->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (store->socket < 0)
                return -errno;

        *ret = TAKE_PTR(store);
        return 0;
}

FdStore *fd_store_free(FdStore *store) {
        if (!store)
                return NULL;

        (void) close_fd(store->socket);
        free(store);
        return NULL;
}

static int fd_store_send(FdStore *store, char *text, const int *fds, size_t n_fds) {
        Packet packet;

        packet_init(&packet, text, strlen(text));
        packet.message.msg_name = &store->address;
        packet.message.msg_namelen = store->size;
        return packet_send(&packet, store->socket, fds, n_fds);
}

int fd_store_add(FdStore *store, const char *name, const int *fds, size_t n_fds) {
        char text[128];

        if (snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name) >= (int) sizeof(text))
                return -EINVAL;

        return fd_store_send(store, text, fds, n_fds);
}

int fd_store_remove(FdStore *store, const char *name) {
        char text[128];

        if (snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name) >= (int) sizeof(text))
                return -EINVAL;

        return fd_store_send(store, text, NULL, 0);
}

int fd_store_read(FdStoreReader reader, void *userdata) {
        char **names = NULL;
        int n;

        n = sd_listen_fds_with_names(true, &names);
        if (n < 0)
                return n;

        for (int i = 0; i < n; i++) {
                reader(names[i], SD_LISTEN_FDS_START + i, userdata);
                free(names[i]);
        }
        free(names);
        return n;
}
