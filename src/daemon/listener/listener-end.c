/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-event.h>

#include "base/descriptors.h"
#include "base/linger.h"
#include "base/log.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener-end.h"
#include "daemon/policy/options.h"
#include "daemon/store/store.h"

static void listener_revoke(Listener *l) {
        LogFields fields = listener_log_fields(l);
        int r;

        if (l->fd < 0)
                return;

        r = delivery_socket_revoke(l->delivery, l->fd);
        if (r < 0)
                log_event(LOG_WARNING, NULL, &fields,
                          "%s of user %u is closed, but whoever has its socket can keep the port: %s",
                          l->path, (unsigned) l->uid, strerror(-r));
}

static void listener_stop(Listener *l) {
        linger_limit_begin(); /* what came as its lifetime is closed */
        l->accept_source = sd_event_source_disable_unref(l->accept_source);
        l->lifetime_source = sd_event_source_disable_unref(l->lifetime_source);
        l->hold_timer = sd_event_source_disable_unref(l->hold_timer);
        l->fd = close_fd(l->fd);
        if (l->slot)
                store_drop_listener(l->store, l->slot, l->saved);
        l->slot = NULL;
        l->saved = NULL;
}

void listener_free_port(Listener *l) {
        listener_stop(l);
}

void listener_close(Listener *l, ListenerEnd end) {
        /* Whoever ends its own listener wishes so. What is on its way in a message may still arrive, unless
         * nobody is there to confirm it. */
        if (end == LISTENER_END_SHUTDOWN) {
                delivery_lose_waiting(l->delivery, ENOTCONN);
                delivery_lose_sent(l->delivery, ENOTCONN);
        } else if (end != LISTENER_END_OWNER && end != LISTENER_END_LIFETIME)
                delivery_lose_waiting(l->delivery, ECONNABORTED);

        uint32_t n = delivery_get_in_flight(l->delivery);
        LogFields fields = listener_log_fields(l);

        log_event(LOG_DEBUG, NULL, &fields,
                  "%s of user %u is closed (%s), with %u connections that nobody had confirmed yet", l->path,
                  (unsigned) l->uid, listener_end_to_string(end), (unsigned) n);

        listener_revoke(l);
        listener_stop(l);
        l->events->closed(l, end, l->userdata);
        (void) listener_free(l);
}

Listener *listener_free(Listener *l) {
        if (!l)
                return NULL;

        listener_stop(l);
        if (l->delivery)
                (void) l->delivery->ops->free(l->delivery);
        user_discharge(&l->charge);
        user_discharge(&l->channel_charge);
        (void) listen_options_free(l->options);
        sd_event_unref(l->event);
        free(l->path);
        free(l);
        return NULL;
}
