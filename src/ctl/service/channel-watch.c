/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <systemd/sd-bus.h>

#include "base/hash.h"
#include "base/macros.h"
#include "ctl/service/channel-watch.h"
#include "ctl/service/query.h"

#define POLL_USEC (UINT64_C(1) * 1000 * 1000)

/* A listener with a channel. */
typedef struct Channel {
        char *path;
        uint64_t accepted; /* the counter at the last call */
        bool seen;         /* by compare() */
        UT_hash_handle hh;
} Channel;

struct ChannelWatch {
        Context *context;
        sd_event *event;
        ChannelHandler handler;
        void *userdata;

        Channel *channels;
        sd_event_source *timer;
        sd_bus_slot *query;
        bool opened; /* a channel may be new since the last call */
};

static void forget_channel(ChannelWatch *w, Channel *channel) {
        HASH_DEL(w->channels, channel);
        free(channel->path);
        free(channel);
}

static Channel *ensure_channel(ChannelWatch *w, const char *path, uint64_t accepted) {
        Channel *channel;

        HASH_FIND_STR(w->channels, path, channel);
        if (channel)
                return channel;

        channel = calloc(1, sizeof(*channel));
        if (!channel)
                return NULL;
        channel->path = strdup(path);
        channel->accepted = accepted;
        if (channel->path)
                HASH_ADD_KEYPTR(hh, w->channels, channel->path, strlen(channel->path), channel);
        if (!channel->path || !hash_was_added(&channel->hh)) {
                free(channel->path);
                free(channel);
                return NULL;
        }

        return channel;
}

static void compare(ChannelWatch *w, const Listeners *l, bool first) {
        Channel *channel, *next;

        for (size_t i = 0; i < l->n; i++) {
                const Listener *listener = l->items + i;

                if (!listener->delivery || !streq(listener->delivery, "channel"))
                        continue;

                /* A new channel counts from 0, but one that is older than this watch from its counter now. */
                channel = ensure_channel(w, listener->path, first ? listener->accepted : 0);
                if (!channel)
                        continue;

                channel->seen = true;
                if (listener->accepted > channel->accepted)
                        w->handler(listener, listener->accepted - channel->accepted, w->userdata);
                channel->accepted = listener->accepted;
        }

        HASH_ITER(hh, w->channels, channel, next) {
                if (!TAKE(channel->seen, false))
                        forget_channel(w, channel);
        }
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata);

static int arm_timer(ChannelWatch *w) {
        int r;

        if (w->timer) {
                r = sd_event_source_set_time_relative(w->timer, POLL_USEC);
                return r < 0 ? r : sd_event_source_set_enabled(w->timer, SD_EVENT_ONESHOT);
        }

        return sd_event_add_time_relative(w->event, &w->timer, CLOCK_MONOTONIC, POLL_USEC, 0, on_time, w);
}

static int on_listed(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        _cleanup_(listeners_done) Listeners l = {};
        ChannelWatch *w = userdata;

        w->query = sd_bus_slot_unref(w->query);
        /* An error means that there is no service, and so no channel. */
        if (query_listeners_finish(reply, &l) >= 0)
                compare(w, &l, false);
        if (w->channels || w->opened)
                (void) arm_timer(w);

        return 0;
}

/* Asynchronous, because the monitor must be read all the time. */
static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        ChannelWatch *w = userdata;

        w->opened = false;
        if (!w->query)
                (void) query_listeners_start(w->context, on_listed, w, &w->query);
        return 0;
}

void channel_watch_handle_open(ChannelWatch *w) {
        if (!w->opened && !w->channels && !w->query)
                (void) arm_timer(w);
        w->opened = true;
}

int channel_watch_new(Context *c,
                      sd_event *event,
                      ChannelHandler handler,
                      void *userdata,
                      ChannelWatch **ret) {
        _cleanup_(listeners_done) Listeners l = {};
        ChannelWatch *w;

        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->context = c;
        w->event = sd_event_ref(event);
        w->handler = handler;
        w->userdata = userdata;

        /* An error means that there is no service, and so no channel. */
        if (query_listeners_quietly(c, &l) >= 0)
                compare(w, &l, true);
        if (w->channels)
                (void) arm_timer(w);

        *ret = w;
        return 0;
}

ChannelWatch *channel_watch_free(ChannelWatch *w) {
        Channel *channel, *next;

        if (!w)
                return NULL;

        HASH_ITER(hh, w->channels, channel, next)
        forget_channel(w, channel);
        sd_bus_slot_unref(w->query);
        sd_event_source_disable_unref(w->timer);
        sd_event_unref(w->event);
        free(w);
        return NULL;
}
