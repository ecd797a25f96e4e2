/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How many connections are served at a time, in all and from one address. The others wait; none is turned
 * away.
 *
 * At the limit in all, nothing is taken from the kernel's queue. At the limit of one address the queue cannot
 * be left alone, since others wait behind the one who has had enough: so what comes from that address is
 * taken and held here until its turn, up to GATE_HELD_MAX connections in all. With that many, the others wait
 * in the kernel's queue, too.
 */

#include <stdbool.h>

#define GATE_HELD_MAX 1024

typedef struct Address Address;

typedef struct Gate Gate;
typedef struct GateSource GateSource;

/* Consumes fd. It must call gate_exit() with this source when the connection has ended, but not before it
 * returns. */
typedef void (*GateEnter)(int fd, const Address *peer, GateSource *source, void *userdata);

/* 0: no limit. */
int gate_new(unsigned max,
             unsigned max_per_source,
             unsigned held_max,
             GateEnter enter,
             void *userdata,
             Gate **ret);
/* The same, but no more than the process can have descriptors for, of which each that is served takes so
 * many. */
int gate_new_within_limits(unsigned max,
                           unsigned max_per_source,
                           unsigned descriptors_each,
                           GateEnter enter,
                           void *userdata,
                           Gate **ret);
/* Closes what is held. All that entered must have left. */
Gate *gate_free(Gate *g);

/* Whether another connection may be taken from the kernel's queue. */
bool gate_is_open(const Gate *g);

/* Consumes fd. Lets it enter now, or holds it until its turn. Only while the gate is open. */
int gate_enter(Gate *g, int fd, const Address *peer);

/* One has ended, and another from the same address may enter. */
void gate_exit(Gate *g, GateSource *source);

/* How many are served. */
unsigned gate_get_entered(const Gate *g);

/* Closes what is held, and holds nothing any more. */
void gate_drop_held(Gate *g);
