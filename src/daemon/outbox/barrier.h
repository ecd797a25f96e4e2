/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of Ping to one client. The answer proves that the client has read all earlier messages. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Barriers Barriers;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_slot sd_bus_slot;

/* While the first barrier is on the bus, a second one is sent after half a window, so that the client reads
 * one half while the service sends the other. A client with a small window gets only one, as dbus-daemon
 * limits the open calls of the service. */
#define BARRIERS_MAX 2

typedef struct Barrier {
        Barriers *barriers;
        sd_bus_slot *call; /* NULL: not on the bus */
        uint64_t position; /* it covers all up to here */
} Barrier;

typedef struct BarrierEvents {
        /* The client has read all up to the position. */
        void (*passed)(uint64_t position, void *userdata);
        /* Not answered by the client; another barrier is needed. */
        void (*failed)(void *userdata);
} BarrierEvents;

/* Embedded. */
struct Barriers {
        sd_bus *bus;
        const char *destination;
        const BarrierEvents *events;
        void *userdata;
        Barrier barriers[BARRIERS_MAX];
        uint64_t position; /* a barrier covers all up to here */
};

void barriers_init(Barriers *b,
                   sd_bus *bus,
                   const char *destination,
                   const BarrierEvents *events,
                   void *userdata);
void barriers_done(Barriers *b);

/* Returns an idle barrier if one should be sent now for n_open descriptors without one, else NULL. 'more':
 * others follow at once. */
Barrier *barriers_choose(Barriers *b, uint32_t n_open, uint32_t window, bool more);

/* Sends a barrier that covers all up to the position, without a timeout: a client that does not answer uses
 * up only its own credit. */
int barrier_send(Barrier *barrier, uint64_t position);
