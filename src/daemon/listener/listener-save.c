/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/socket.h"
#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener-save.h"
#include "daemon/listener/listener.h"
#include "daemon/policy/options.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"

static bool saves_connections(const Listener *l) {
        /* A direct delivery sends connections as soon as it has a packet of them, see listener_save_unsent().
         */
        return l->slot && delivery_kind_accepts(l->options->delivery) && !l->delivery->ops->is_direct;
}

void listener_prepare_to_save(Listener *l) {
        if (saves_connections(l))
                store_prepare_connections(l->store, l->slot);
}

int listener_save_connection(Listener *l, int fd, const Address *peer, SpoolEntry **ret) {
        if (!saves_connections(l))
                return 0;

        return store_save_connection(l->store, l->slot, l->accepted + 1, fd, peer, ret);
}

int listener_save_unsent(Listener *l) {
        Handoff *handoff;
        int r;

        if (!l->slot || !l->delivery->ops->is_direct)
                return 0;

        TAILQ_FOREACH(handoff, &l->delivery->waiting, delivery_link) {
                if (handoff->saved)
                        continue;
                r = store_save_connection(l->store, l->slot, handoff->serial, handoff->fd, &handoff->peer,
                                          &handoff->saved);
                if (r < 0)
                        return r;
        }

        return 0;
}

void listener_save_channel(Listener *l) {
        int r;

        if (!l->slot)
                return;

        listener_save_state(l);
        r = delivery_channel_save(l->delivery, l->store, l->slot);
        if (r < 0) {
                LogFields fields = listener_log_fields(l);

                log_event(LOG_WARNING, NULL, &fields,
                          "Failed to save the channel of %s, it will not survive a restart: %s", l->path,
                          strerror(-r));
        }
}

int listener_restore_connection(Listener *l, StoreFound *found) {
        Handoff *handoff;
        Address local;
        int r;

        r = socket_get_arrival_address(found->fd, &l->address, &local);
        if (r < 0)
                return r;

        r = handoff_new(TAKE_FD(found->fd), &found->peer, &local, found->serial, &handoff);
        if (r < 0)
                return r;

        handoff->saved = TAKE_PTR(found->entry);
        delivery_add(l->delivery, handoff);

        if (l->accepted < found->serial)
                l->accepted = found->serial;
        return 0;
}

void listener_restore_counters(Listener *l) {
        uint64_t rest = l->lost + l->rejected + delivery_get_in_flight(l->delivery);

        /* The last process may have sent all of them, and the client may acknowledge any of them now. */
        l->delivery->last_sent = l->accepted;
        l->delivered = l->accepted > rest ? l->accepted - rest : 0;
        listener_save_state(l);
}

bool listener_is_saved(const Listener *l) {
        if (!l->slot)
                return false;

        /* A persistent listener may get another channel. Any other listener ends with its channel. */
        return l->options->persistent || !delivery_channel_is_unsaved(l->delivery);
}
