/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How fast a caller gets its answers, one call at a time. */

#include <stdint.h>
#include <systemd/sd-bus.h>

#include "bench/series.h"
#include "bus/message-bus.h"
#include "bus/service.h"

typedef struct CallFigures {
        Series listen_and_close; /* pairs a second */
        Series empty;            /* pairs of Ping, which does nothing, to the same service */
} CallFigures;

CallFigures calls_measure(TestBus *bus, TestService *service, unsigned rounds, unsigned milliseconds);

/* Listens on the next port of 127.0.0.1 from that one on that is free, and closes it again. Returns the µs
 * that Listen took. */
double calls_measure_listen(sd_bus *bus, uint16_t *port);
