/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* All that a run has found out. */

#include <glib.h>
#include <stdbool.h>

#include "bench/calls.h"
#include "bench/crowd.h"
#include "bench/idle.h"
#include "bench/rounds.h"
#include "bench/rows.h"

typedef struct Results {
        Row rows[N_ROWS];
        RoundPlan plan;
        unsigned rounds;

        CallFigures calls;
        CrowdFigures crowd;
        IdleFigures idle;

        bool partial;         /* only what was asked for was measured */
        Series background;    /* what others did before each round, as a share of all CPUs' time */
        bool private_network; /* nobody else's connections are in the counters */
        double seconds;       /* that the run took */
        GPtrArray *notes;     /* what was noticed, as text */
} Results;
