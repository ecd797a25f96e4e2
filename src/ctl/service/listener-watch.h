/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Watches the listeners of the service: which ones are new or gone, and how many connections go through
 * channels or are refused. Much of this does not pass the bus, so the listeners are listed once a second
 * while there is one.
 */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/service/listener.h"

typedef struct ListenerWatch ListenerWatch;

typedef enum Counter {
        COUNTER_ACCEPTED, /* for a channel */
        COUNTER_REFUSED,
} Counter;

typedef struct ListenerWatchEvents {
        void (*appeared)(const Listener *listener, void *userdata);
        /* had_owner: at the time before. Not called after listener_watch_handle_closed(). */
        void (*vanished)(const char *path, bool had_owner, void *userdata);
        /* count: the connections since the last call. */
        void (*counted)(const Listener *listener, Counter counter, uint64_t count, void *userdata);
} ListenerWatchEvents;

/* Watches from now on. Only this first call waits for its reply; the later ones need c->bus attached to the
 * loop. */
int listener_watch_new(Context *c,
                       sd_event *event,
                       const ListenerWatchEvents *events,
                       void *userdata,
                       ListenerWatch **ret);
ListenerWatch *listener_watch_free(ListenerWatch *w);

/* To be called when a listener may be new: lists them without delay. */
void listener_watch_handle_new(ListenerWatch *w);
/* To be called when the service says that a listener is closed. */
void listener_watch_handle_closed(ListenerWatch *w, const char *path);
