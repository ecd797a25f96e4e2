/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <poll.h>
#include <stdio.h>
#include <systemd/sd-event.h>

#include "base/log.h"
#include "base/macros.h"
#include "daemon/store/fd-store.h"
#include "daemon/store/teller.h"

#define RETRY_USEC (UINT64_C(20) * 1000)
#define LAST_CHANCE_MSEC 1000

/* What has not been told yet. */
typedef struct Untold {
        char name[TELLER_NAME_MAX];
        int fds[2];
        size_t n_fds; /* 0: to be removed */
        struct Untold *next;
} Untold;

struct Teller {
        sd_event *event;
        FdStore *fd_store;
        Untold *untold, **end;
        sd_event_source *retry;
};

DEFINE_CLEANUP(Teller, teller_free)

int teller_new(sd_event *event, Teller **ret) {
        _cleanup_(teller_freep) Teller *teller = NULL;
        int r;

        teller = calloc(1, sizeof(*teller));
        if (!teller)
                return -ENOMEM;

        teller->event = sd_event_ref(event);
        teller->end = &teller->untold;

        r = fd_store_new(&teller->fd_store);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(teller);
        return 0;
}

Teller *teller_free(Teller *teller) {
        Untold *untold;

        if (!teller)
                return NULL;

        while ((untold = teller->untold)) {
                teller->untold = untold->next;
                free(untold);
        }
        sd_event_source_disable_unref(teller->retry);
        (void) fd_store_free(teller->fd_store);
        sd_event_unref(teller->event);
        free(teller);
        return NULL;
}

static int teller_tell_one(Teller *teller, const Untold *untold) {
        return untold->n_fds > 0 ? fd_store_add(teller->fd_store, untold->name, untold->fds, untold->n_fds)
                                 : fd_store_remove(teller->fd_store, untold->name);
}

/* Returns -EAGAIN if something is left. */
static int teller_tell(Teller *teller) {
        Untold *untold;
        int r;

        while ((untold = teller->untold)) {
                r = teller_tell_one(teller, untold);
                if (r == -EAGAIN || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS)
                        return -EAGAIN;
                if (r < 0)
                        log_error("Cannot tell the service manager what to keep: %s", strerror(-r));

                teller->untold = untold->next;
                if (!teller->untold)
                        teller->end = &teller->untold;
                free(untold);
        }

        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Teller *teller = userdata;

        teller->retry = sd_event_source_disable_unref(teller->retry);
        if (teller_tell(teller) < 0)
                (void) sd_event_add_time_relative(teller->event, &teller->retry, CLOCK_MONOTONIC, RETRY_USEC,
                                                  0, on_retry, teller);
        return 0;
}

int teller_add(Teller *teller, const char *name, const int *fds, size_t n_fds) {
        Untold *untold;

        untold = calloc(1, sizeof(*untold));
        if (!untold)
                return -ENOMEM;

        (void) snprintf(untold->name, sizeof(untold->name), "%s", name);
        if (n_fds > 0)
                memcpy(untold->fds, fds, n_fds * sizeof(int));
        untold->n_fds = n_fds;
        *teller->end = untold;
        teller->end = &untold->next;

        if (!teller->retry)
                (void) on_retry(NULL, 0, teller);
        return 0;
}

void teller_remove(Teller *teller, const char *name) {
        if (teller_add(teller, name, NULL, 0) < 0)
                log_error("Cannot tell the service manager what not to keep: %s", strerror(ENOMEM));
}

void teller_flush(Teller *teller) {
        for (unsigned n = 0; n < LAST_CHANCE_MSEC && teller_tell(teller) < 0; n++)
                (void) poll(NULL, 0, 1);
}
