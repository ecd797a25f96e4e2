/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The Pings to one client that prove, when they are answered, that it has read what was sent before. */

#include <stdbool.h>
#include <stdint.h>

typedef struct Barriers Barriers;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_slot sd_bus_slot;

/* The first stands for whatever there is. While it is under way, a second is sent for half a window, so that
 * the client takes the one half while we see to the other. No client with a small window has two, for
 * dbus-daemon lets us wait for few answers in all. */
#define BARRIERS_MAX 2

typedef struct Barrier {
        Barriers *barriers;
        sd_bus_slot *call; /* NULL: it is not under way */
        uint64_t position; /* all up to here it stands for */
} Barrier;

typedef struct BarrierEvents {
        /* All up to the position has been read. */
        void (*passed)(uint64_t position, void *userdata);
        /* Nothing is proved, and another one is needed. */
        void (*failed)(void *userdata);
} BarrierEvents;

/* Embedded. */
struct Barriers {
        sd_bus *bus;
        const char *destination;
        const BarrierEvents *events;
        void *userdata;
        Barrier barriers[BARRIERS_MAX];
        uint64_t position; /* all up to here has one behind it */
};

void barriers_init(Barriers *b,
                   sd_bus *bus,
                   const char *destination,
                   const BarrierEvents *events,
                   void *userdata);
void barriers_done(Barriers *b);

/* One to be sent for so many messages that have none, with such a window; 'more': others follow at once. NULL
 * if it is not worth it, or cannot be had. */
Barrier *barriers_choose(Barriers *b, uint32_t n_open, uint32_t window, bool more);

/* It stands for all up to the position. A client may take all the time it wants to answer: it spends its own
 * credit, nobody else's. */
int barrier_send(Barrier *barrier, uint64_t position);
