/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A service with many listeners beside one with few: does it notice? */

#include <glib.h>

#include "bench/series.h"

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
