/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/*
 * --- The load: processes that connect to a port of 127.0.0.1, read until the other side has ended the
 * connection, and close it ---
 *
 * Each has so many connections under way and opens a new one for each that has ended, so the queues of the
 * server never hold more than all of these. The peer's FIN comes first and is answered by a RST, because of a
 * linger time of 0: no side is left with a connection in TIME_WAIT, and ports do not run out.
 */

#define LOAD_GENERATORS 2
/* In all no more than the backlog of xinetd, which is fixed, and than the descriptors that dbus-daemon takes
 * of one sender: both are 64. */
#define LOAD_IN_FLIGHT 32

typedef struct LoadRate {
        double rate;     /* connections a second, between the warm-up and the end */
        uint64_t n;      /* all connections, those of the warm-up and after the end too */
        uint64_t failed; /* refused, reset, or ended without a byte */
        uint64_t stuck;  /* still under way long after the end */
} LoadRate;

typedef struct LoadLatency {
        double p50_us, p99_us; /* from connect() to the first byte */
        uint64_t n;
        uint64_t failed;
} LoadLatency;

LoadRate load_measure_rate(uint16_t port, unsigned milliseconds);
/* One connection at a time. */
LoadLatency load_measure_latency(uint16_t port, unsigned milliseconds);

/* One connection, in this process. Returns the nanoseconds to the first byte; 0: it failed. */
uint32_t load_probe(uint16_t port);

/* --- Load on connections that stay: throughput, and round trips. The other end is "bench-server stream" at a
 * port of 127.0.0.1 --- */

/* Bytes a second that arrive through so many connections at once. 0: it failed. */
double flow_measure_bytes(uint16_t port, unsigned n_connections, unsigned milliseconds);

typedef struct FlowRoundTrip {
        double p50_us, p99_us; /* one byte, there and back */
        uint64_t n;            /* 0: it failed */
} FlowRoundTrip;

FlowRoundTrip flow_measure_round_trip(uint16_t port, unsigned milliseconds);
