/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Load on connections that stay: how much goes through them, and how fast an answer comes back. The other end
 * is bench-relay-target's "stream" at a port of 127.0.0.1. */

#include <stdint.h>

/* Bytes a second that arrive, through so many connections at once. 0: it failed. */
double flow_measure_bytes(uint16_t port, unsigned n_connections, unsigned milliseconds);

typedef struct FlowRoundTrip {
        double p50_us, p99_us; /* one byte, there and back */
        uint64_t n;            /* 0: it failed */
} FlowRoundTrip;

FlowRoundTrip flow_measure_round_trip(uint16_t port, unsigned milliseconds);
