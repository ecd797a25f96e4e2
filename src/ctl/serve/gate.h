/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Limits how many connections are served at a time, in all and from each address.
 *
 * At the limit in all, the tool stops accepting, and connections wait in the kernel's queue.
 *
 * At the limit of one address it continues to accept, because connections from other addresses may follow in
 * the queue. The gate holds the connections of that address until their turn. It holds a limited number, in
 * all and from each address, and resets what exceeds that, so that one address can neither stop the queue nor
 * occupy all places for held connections. If a limit is reached, held connections that their peers have left
 * are closed first.
 */

#include <stdbool.h>

#define GATE_HELD_MAX 1024
#define GATE_HELD_MAX_PER_SOURCE 128

typedef struct Connection Connection;
typedef struct ConnectionSource ConnectionSource;

typedef struct Gate Gate;
typedef struct GateSource GateSource;

/* Serves a connection and consumes its descriptor. Must call gate_exit() with this source when the connection
 * has ended, but not before it returns. */
typedef void (*GateEnter)(const Connection *connection, GateSource *source, void *userdata);

typedef struct GateLimits {
        unsigned max, max_per_source; /* 0: no limit */
        unsigned held_max, held_max_per_source;
} GateLimits;

int gate_new(const GateLimits *limits, GateEnter enter, void *userdata, Gate **ret);
/* The same, with the limit in all capped by RLIMIT_NOFILE. Each connection takes descriptors_each. */
int gate_new_within_limits(unsigned max,
                           unsigned max_per_source,
                           unsigned descriptors_each,
                           GateEnter enter,
                           void *userdata,
                           Gate **ret);
/* Closes the connections that are held. All connections that entered must have left. */
Gate *gate_free(Gate *g);

/* Whether another connection may be accepted. */
bool gate_is_open(const Gate *g);

/* Closes the gate for a while, when descriptors or memory are short. */
void gate_pause(Gate *g);
void gate_resume(Gate *g);
bool gate_is_paused(const Gate *g);

/* Serves the connection now, holds it until its turn, or resets it. Consumes its descriptor. The gate must be
 * open. */
int gate_enter(Gate *g, const Connection *connection);

/* Accepts connections while the gate is open, at most max. On a shortage it prints a message and pauses the
 * gate. Returns 1 if there may be more; 0 if there are none now; or a negative errno at the end of the
 * source. */
int gate_take(Gate *g, ConnectionSource *from, unsigned max);

/* A connection has ended. Lets another one from the same address enter. */
void gate_exit(Gate *g, GateSource *source);

/* The limit in all; 0: none. */
unsigned gate_get_max(const Gate *g);
/* To be called when a connection has entered. Returns true if that limit is reached now, and was not for a
 * while: the user is to be told, by gate_print_full() or a message that knows more. */
bool gate_begin_full(Gate *g);
void gate_print_full(const Gate *g);

/* How many are served. */
unsigned gate_get_entered(const Gate *g);
/* Prints how many the tool is going to wait for, if any. */
void gate_print_entered(const Gate *g);

/* Closes the connections that are held, and the gate for good. */
void gate_drop_held(Gate *g);
