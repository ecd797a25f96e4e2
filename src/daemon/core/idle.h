/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reports when the service has been idle for a while. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Idle Idle;
typedef struct sd_event sd_event;

typedef struct IdleEvents {
        /* Called after each event. */
        bool (*is_busy)(void *userdata);
        void (*idle)(void *userdata);
} IdleEvents;

/* timeout_usec 0: never. */
int idle_new(sd_event *event, uint64_t timeout_usec, const IdleEvents *events, void *userdata, Idle **ret);
Idle *idle_free(Idle *idle);

void idle_set_timeout(Idle *idle, uint64_t timeout_usec);

/* Restarts the timeout after an activity. */
void idle_touch(Idle *idle);
