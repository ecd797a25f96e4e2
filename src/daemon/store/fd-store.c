/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/descriptors.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/store/fd-store.h"
#include "daemon/store/packet.h"

#define RETRY_USEC (UINT64_C(20) * 1000)
#define FLUSH_MSEC 1000

/* A message to systemd that has not been sent yet. */
typedef struct Notification {
        char text[320]; /* systemd's names have up to 255 characters */
        int fds[2];
        size_t n_fds;
        STAILQ_ENTRY(Notification) link;
} Notification;

struct FdStore {
        int socket;
        struct sockaddr_un address;
        socklen_t address_size;

        sd_event *event;
        sd_event_source *retry_timer;
        STAILQ_HEAD(, Notification) pending;
};

DEFINE_CLEANUP(FdStore, fd_store_free)

/* Returns the size of the address, -ENOTSUP if there is none. */
static int read_address(struct sockaddr_un *ret) {
        const char *path = getenv("NOTIFY_SOCKET");
        size_t length;

        if (!path || (path[0] != '/' && path[0] != '@'))
                return -ENOTSUP;
        length = strlen(path);
        if (length >= sizeof(ret->sun_path))
                return -ENOTSUP;

        *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
        memcpy(ret->sun_path, path, length);
        if (path[0] == '@')
                ret->sun_path[0] = '\0';
        return (int) (offsetof(struct sockaddr_un, sun_path) + length + (path[0] == '/'));
}

int fd_store_new(sd_event *event, FdStore **ret) {
        _cleanup_(fd_store_freep) FdStore *store = NULL;
        int r;

        store = calloc(1, sizeof(*store));
        if (!store)
                return -ENOMEM;

        store->socket = -EBADF;
        store->event = sd_event_ref(event);
        STAILQ_INIT(&store->pending);

        r = read_address(&store->address);
        if (r < 0)
                return r;
        store->address_size = (socklen_t) r;

        store->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (store->socket < 0)
                return -errno;

        *ret = TAKE_PTR(store);
        return 0;
}

static void remove_first(FdStore *store) {
        Notification *notification = STAILQ_FIRST(&store->pending);

        STAILQ_REMOVE_HEAD(&store->pending, link);
        free(notification);
}

FdStore *fd_store_free(FdStore *store) {
        if (!store)
                return NULL;

        while (!STAILQ_EMPTY(&store->pending))
                remove_first(store);
        sd_event_source_disable_unref(store->retry_timer);
        (void) close_fd(store->socket);
        sd_event_unref(store->event);
        free(store);
        return NULL;
}

static int fd_store_send_one(FdStore *store, Notification *notification) {
        Packet packet;

        packet_init(&packet, notification->text, strlen(notification->text));
        packet.message.msg_name = &store->address;
        packet.message.msg_namelen = store->address_size;
        return packet_send(&packet, store->socket, notification->fds, notification->n_fds);
}

/* Returns -EAGAIN if messages still wait. */
static int fd_store_send(FdStore *store) {
        Notification *notification;
        int r;

        while ((notification = STAILQ_FIRST(&store->pending))) {
                r = fd_store_send_one(store, notification);
                if (r == -EAGAIN || errno_is_transient(r))
                        return -EAGAIN;
                if (r < 0)
                        log_error("Failed to send a message about the fd store to the service manager: %s",
                                  strerror(-r));

                remove_first(store);
        }

        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        FdStore *store = userdata;

        store->retry_timer = sd_event_source_disable_unref(store->retry_timer);
        if (fd_store_send(store) < 0)
                (void) sd_event_add_time_relative(store->event, &store->retry_timer, CLOCK_MONOTONIC,
                                                  RETRY_USEC, 0, on_retry, store);
        return 0;
}

static int fd_store_queue(FdStore *store, const char *head, const char *name, const int *fds, size_t n_fds) {
        _cleanup_free_ Notification *notification = NULL;

        notification = calloc(1, sizeof(*notification));
        if (!notification)
                return -ENOMEM;

        if (snprintf(notification->text, sizeof(notification->text), "%s\nFDNAME=%s", head, name) >=
            (int) sizeof(notification->text))
                return -EINVAL;
        if (n_fds > 0)
                memcpy(notification->fds, fds, n_fds * sizeof(int));
        notification->n_fds = n_fds;
        STAILQ_INSERT_TAIL(&store->pending, notification, link);
        TAKE_PTR(notification);

        if (!store->retry_timer)
                (void) on_retry(NULL, 0, store);
        return 0;
}

int fd_store_add(FdStore *store, const char *name, const int *fds, size_t n_fds) {
        assert(n_fds > 0 && n_fds <= ELEMENTS(((Notification *) NULL)->fds));

        return fd_store_queue(store, "FDSTORE=1\nFDPOLL=0", name, fds, n_fds);
}

void fd_store_remove(FdStore *store, const char *name) {
        int r;

        r = fd_store_queue(store, "FDSTOREREMOVE=1", name, NULL, 0);
        if (r < 0)
                log_error("Failed to remove '%s' from the fd store: %s", name, strerror(-r));
}

void fd_store_flush(FdStore *store) {
        for (unsigned n = 0; n < FLUSH_MSEC && fd_store_send(store) < 0; n++)
                (void) poll(NULL, 0, 1);
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
