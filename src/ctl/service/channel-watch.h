/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Counts the connections that go through channels. These do not pass the bus, so the counters of the service
 * are read once a second while there is a channel. */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/service/listener.h"

typedef struct ChannelWatch ChannelWatch;

/* count: the connections since the last call. */
typedef void (*ChannelHandler)(const Listener *listener, uint64_t count, void *userdata);

/* Counts from now on. Only this first call waits for its reply; the later ones need c->bus attached to the
 * loop. */
int channel_watch_new(Context *c,
                      sd_event *event,
                      ChannelHandler handler,
                      void *userdata,
                      ChannelWatch **ret);
ChannelWatch *channel_watch_free(ChannelWatch *w);

/* To be called when a client calls OpenChannel. */
void channel_watch_handle_open(ChannelWatch *w);
