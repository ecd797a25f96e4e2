/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>

#include "base/linger.h"
#include "base/macros.h"
#include "daemon/outbox/handoff.h"
#include "daemon/store/spool.h"

int handoff_new(int fd, const Address *peer, const Address *local, uint64_t serial, Handoff **ret) {
        Handoff *handoff;

        assert(fd >= 0);

        handoff = calloc(1, sizeof(*handoff));
        if (!handoff) {
                (void) close_fd(fd);
                return -ENOMEM;
        }

        handoff->fd = fd;
        handoff->serial = serial;
        handoff->peer = *peer;
        handoff->local = *local;

        *ret = handoff;
        return 0;
}

void handoff_close(Handoff *handoff) {
        /* This may be the last copy: the client may have received and closed its own. */
        if (handoff->fd >= 0) {
                linger_disable(handoff->fd);
                linger_limit_begin();
        }

        handoff->fd = close_fd(handoff->fd);
        handoff->saved = spool_drop(handoff->saved);
}

void handoff_ignore_answer(Handoff *handoff) {
        if (!handoff->call)
                return;

        handoff->call->handoff = NULL;
        handoff->call = NULL;
}

Handoff *handoff_free(Handoff *handoff) {
        if (!handoff)
                return NULL;

        handoff_close(handoff);
        handoff_ignore_answer(handoff);
        if (handoff->entry)
                handoff->entry->handoff = NULL;
        free(handoff);
        return NULL;
}
