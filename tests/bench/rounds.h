/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The rounds: in each, every row is measured once, one after the other, so that whatever else the machine
 * does is shared out among them. */

#include <glib.h>

#include "bench/rows.h"
#include "bench/series.h"

typedef struct RoundPlan {
        unsigned rate_ms, latency_ms; /* for each row */
} RoundPlan;

/* Adds to the rows' figures. What was noticed goes to the notes, as text. */
void round_measure(Row rows[static N_ROWS], const RoundPlan *plan, unsigned number, GPtrArray *notes);

/* After the last one. */
void rounds_measure_memory(Row rows[static N_ROWS]);
