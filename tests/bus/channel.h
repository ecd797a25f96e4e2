/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A listener of delivery "channel" and its channel, with peers that say who they are. */

#include "bus/fixture.h"

#define CHANNEL "delivery", "s", "channel"

typedef struct Channel {
        Fixture *f;
        char *listener;
        uint16_t port;
        int fd;
        int peers[256];
        unsigned n_peers;
        unsigned n_received;
} Channel;

/* The channel is not open yet. */
void channel_listen(Channel *c, Fixture *f);
void channel_open(Channel *c, Fixture *f);
void channel_done(Channel *c);

/* Each says its number. */
void channel_connect(Channel *c, unsigned n);
/* The next n, each its peer's. */
void channel_receive(Channel *c, unsigned n);

void channel_assert_end(Channel *c);
void channel_assert_counters(Channel *c, uint64_t accepted, uint64_t delivered);
/* The listener is, and its owner was told. */
void channel_assert_closed(Channel *c, const char *reason);
