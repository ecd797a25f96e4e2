/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <poll.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/store/fd-store.h"
#include "daemon/store/notifier.h"

#define RETRY_USEC (UINT64_C(20) * 1000)
#define LAST_CHANCE_MSEC 1000

/* A message to systemd that has not been sent yet. */
typedef struct Notification {
        char name[NOTIFIER_NAME_MAX];
        int fds[2];
        size_t n_fds; /* 0: to be removed */
        struct Notification *next;
} Notification;

struct Notifier {
        sd_event *event;
        FdStore *fd_store;
        Notification *pending, **end;
        sd_event_source *retry;
};

DEFINE_CLEANUP(Notifier, notifier_free)

int notifier_new(sd_event *event, Notifier **ret) {
        _cleanup_(notifier_freep) Notifier *notifier = NULL;
        int r;

        notifier = calloc(1, sizeof(*notifier));
        if (!notifier)
                return -ENOMEM;

        notifier->event = sd_event_ref(event);
        notifier->end = &notifier->pending;

        r = fd_store_new(&notifier->fd_store);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(notifier);
        return 0;
}

Notifier *notifier_free(Notifier *notifier) {
        Notification *notification;

        if (!notifier)
                return NULL;

        while ((notification = notifier->pending)) {
                notifier->pending = notification->next;
                free(notification);
        }
        sd_event_source_disable_unref(notifier->retry);
        (void) fd_store_free(notifier->fd_store);
        sd_event_unref(notifier->event);
        free(notifier);
        return NULL;
}

static int notifier_send_one(Notifier *notifier, const Notification *notification) {
        return notification->n_fds > 0 ? fd_store_add(notifier->fd_store, notification->name,
                                                      notification->fds, notification->n_fds)
                                       : fd_store_remove(notifier->fd_store, notification->name);
}

/* Returns -EAGAIN if something is left. */
static int notifier_send(Notifier *notifier) {
        Notification *notification;
        int r;

        while ((notification = notifier->pending)) {
                r = notifier_send_one(notifier, notification);
                if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS)
                        return -EAGAIN;
                if (r < 0)
                        log_error("Cannot tell the service manager what to keep: %s", strerror(-r));

                notifier->pending = notification->next;
                if (!notifier->pending)
                        notifier->end = &notifier->pending;
                free(notification);
        }

        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Notifier *notifier = userdata;

        notifier->retry = sd_event_source_disable_unref(notifier->retry);
        if (notifier_send(notifier) < 0)
                (void) sd_event_add_time_relative(notifier->event, &notifier->retry, CLOCK_MONOTONIC,
                                                  RETRY_USEC, 0, on_retry, notifier);
        return 0;
}

int notifier_add(Notifier *notifier, const char *name, const int *fds, size_t n_fds) {
        Notification *notification;

        notification = calloc(1, sizeof(*notification));
        if (!notification)
                return -ENOMEM;

        (void) snprintf(notification->name, sizeof(notification->name), "%s", name);
        if (n_fds > 0)
                memcpy(notification->fds, fds, n_fds * sizeof(int));
        notification->n_fds = n_fds;
        *notifier->end = notification;
        notifier->end = &notification->next;

        if (!notifier->retry)
                (void) on_retry(NULL, 0, notifier);
        return 0;
}

void notifier_remove(Notifier *notifier, const char *name) {
        if (notifier_add(notifier, name, NULL, 0) < 0)
                log_error("Cannot tell the service manager what not to keep: %s", strerror(ENOMEM));
}

void notifier_flush(Notifier *notifier) {
        for (unsigned n = 0; n < LAST_CHANCE_MSEC && notifier_send(notifier) < 0; n++)
                (void) poll(NULL, 0, 1);
}
