/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How many connections go through channels, which do not pass the bus: once a second, while there are
 * channels, the service is asked for its counters. */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/service/listener.h"

typedef struct ChannelWatch ChannelWatch;

/* So many more since the last time. */
typedef void (*ChannelHandler)(const Listener *listener, uint64_t count, void *userdata);

/* What was there before does not count. The first question waits for its answer, those that follow do not;
 * c->bus has to be attached to the loop for them. */
int channel_watch_new(Context *c,
                      sd_event *event,
                      ChannelHandler handler,
                      void *userdata,
                      ChannelWatch **ret);
ChannelWatch *channel_watch_free(ChannelWatch *w);

/* Somebody opens a channel. */
void channel_watch_handle_open(ChannelWatch *w);
