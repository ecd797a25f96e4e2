/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bench/measure.h"
#include "bus/message-bus.h"
#include "bus/service.h"

/* --- The rate of calls, one at a time --- */

typedef struct CallFigures {
        Series listen_and_close; /* pairs a second */
        Series empty;            /* pairs of Ping, which does nothing, to the same service */
} CallFigures;

CallFigures calls_measure(TestBus *bus, TestService *service, unsigned rounds, unsigned milliseconds);

/* Listens on the next port of 127.0.0.1 from that one on that is free, and closes it again. Returns the µs
 * that Listen took. */
double calls_measure_listen(sd_bus *bus, uint16_t *port);

/* --- A service with many listeners beside one with few --- */

#define CROWD_FEW 10U
#define CROWD_MANY 10000U

typedef struct CrowdFigures {
        bool measured;
        const char *missing;  /* why not */
        double bytes;         /* of the service's resident memory, for each listener */
        double shutdown_ms;   /* of the one with many, from SIGTERM to its end */
        Series listen[2];     /* in µs; at few, at many */
        Series connection[2]; /* connect to first byte, in µs, at any of the listeners, by signal */
} CrowdFigures;

/* Needs root, to raise the limit of listeners a user in a configuration that only this service sees. */
CrowdFigures crowd_measure(unsigned rounds);

/* --- A service that has a listener and nothing to do. It is watched while the rest is measured, and does not
 * affect it if it sleeps --- */

typedef struct Idle Idle;

typedef struct IdleFigures {
        double seconds;
        uint64_t wake_ups;
        int64_t system_calls; /* -1: there is no strace */
        double rss, pss;      /* in KiB */
} IdleFigures;

Idle *idle_start(void);
/* Waits until it was watched for so long. */
IdleFigures idle_finish(Idle *idle, unsigned seconds);
