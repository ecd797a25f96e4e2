/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Counts the connections that go through channels, and those that the service refuses. These do not pass the
 * bus, so the counters of the service are read once a second while there is a listener. */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/service/listener.h"

typedef struct CounterWatch CounterWatch;

typedef enum Counter {
        COUNTER_ACCEPTED, /* for a channel */
        COUNTER_REFUSED,
} Counter;

/* count: the connections since the last call. */
typedef void (*CounterHandler)(const Listener *listener, Counter counter, uint64_t count, void *userdata);

/* Counts from now on. Only this first call waits for its reply; the later ones need c->bus attached to the
 * loop. */
int counter_watch_new(Context *c,
                      sd_event *event,
                      CounterHandler handler,
                      void *userdata,
                      CounterWatch **ret);
CounterWatch *counter_watch_free(CounterWatch *w);

/* To be called when a listener may be new. */
void counter_watch_handle_change(CounterWatch *w);
