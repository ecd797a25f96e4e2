/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Decides when a listener accepts, and accepts.
 *
 * A listener does not accept while it is paused, while its delivery has no room, faster than its rate, and
 * for a short time after the service has run out of descriptors or memory. When one of these conditions ends,
 * listener_serve() is called.
 */

#include <stdint.h>

typedef struct Listener Listener;
typedef struct Pacer Pacer;

/* Adds the event source of the socket, disabled. */
int listener_add_accept_source(Listener *l);

/* Accepts as many connections as it may now, sends them, and enables the event source if it may accept more.
 * May close the listener. */
void listener_serve(Listener *l);

/* The pacer limits the rate by the generic cell rate algorithm: each event moves a theoretical arrival time
 * on by one interval, and no event may come earlier than a tolerance before it. The tolerance is short, so
 * that no second has more than a hundredth above the rate, but long enough that a high rate does not need a
 * timer for each event. */
void pacer_init(Pacer *pacer, uint32_t per_second);

/* Returns the time of the next event, in nanoseconds on CLOCK_MONOTONIC. It may be in the past. */
uint64_t pacer_get_next(const Pacer *pacer);

void pacer_count(Pacer *pacer, uint64_t now_ns);
