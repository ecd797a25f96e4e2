/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/macros.h"
#include "base/socket.h"
#include "daemon/listener/lifeline.h"
#include "daemon/store/spool.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"

void lifeline_init(Lifeline *lifeline, sd_event *event, void (*ended)(void *userdata), void *userdata) {
        *lifeline = (Lifeline) { .event = event, .ended = ended, .userdata = userdata, .fd = -EBADF };
}

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Lifeline *lifeline = userdata;

        lifeline->ended(lifeline->userdata);
        return 0;
}

/* The event is EPOLLERR, which is always reported. */
static int lifeline_add_source(Lifeline *lifeline, int fd) {
        return sd_event_add_io(lifeline->event, &lifeline->source, fd, 0, on_end, lifeline);
}

int lifeline_open(Lifeline *lifeline, Store *store, const StateSlot *slot) {
        _cleanup_close_ int reading = -EBADF, writing = -EBADF;
        int ends[2], r;

        if (lifeline->fd >= 0)
                return -EALREADY;

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        reading = ends[0];
        writing = ends[1];
        if (descriptor_is_in_reserve(reading) || descriptor_is_in_reserve(writing))
                return -EMFILE;

        if (slot) {
                r = store_save_lifeline(store, slot, writing, &lifeline->saved);
                if (r < 0)
                        return r;
        }

        r = lifeline_add_source(lifeline, writing);
        if (r < 0) {
                lifeline->saved = spool_drop(lifeline->saved);
                return r;
        }

        lifeline->fd = TAKE_FD(writing);
        lifeline->is_sent = false;
        return TAKE_FD(reading);
}

void lifeline_close(Lifeline *lifeline) {
        lifeline->source = sd_event_source_disable_unref(lifeline->source);
        lifeline->fd = close_fd(lifeline->fd);
        lifeline->is_sent = false;
        lifeline->saved = spool_drop(lifeline->saved);
}

int lifeline_restore(Lifeline *lifeline, StoreFound *found) {
        int r;

        if (lifeline->fd >= 0)
                return -EINVAL;

        /* The last process ended before it sent the other end. OpenLifeline can be called again. */
        if (!lifeline->is_sent && socket_has_hung_up(found->fd))
                return 0;

        r = lifeline_add_source(lifeline, found->fd);
        if (r < 0)
                return r;

        (void) sd_event_source_set_enabled(lifeline->source, SD_EVENT_OFF);
        lifeline->fd = TAKE_FD(found->fd);
        lifeline->saved = TAKE_PTR(found->entry);
        lifeline->is_sent = true;
        return 0;
}

int lifeline_watch(Lifeline *lifeline) {
        return lifeline->source ? sd_event_source_set_enabled(lifeline->source, SD_EVENT_ON) : 0;
}
