/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "bench/figures.h"
#include "bench/rows.h"

/* The results of a run, its goals, and how they are shown. */

typedef struct Results {
        Row rows[N_ROWS];
        RoundPlan plan;
        unsigned rounds;

        CallFigures calls;
        CrowdFigures crowd;
        IdleFigures idle;

        bool partial;         /* not all figures were asked for */
        Series background;    /* share of all CPUs' time that other programs used before each round */
        bool private_network; /* the counters have no connections of others */
        double seconds;       /* that the run took */
        GPtrArray *notes;     /* as text */
} Results;

typedef enum Verdict {
        VERDICT_PASS,
        VERDICT_MISS,
        VERDICT_NONE, /* it was not measured */
} Verdict;

typedef struct Goal {
        char *figure;
        double value; /* NAN: it was not measured */
        double bound;
        bool at_least; /* or at most */
        Verdict verdict;
} Goal;

/* Of Goal *. */
GPtrArray *goals_check(const Results *results);

const char *verdict_to_string(Verdict verdict);

/* For people, on standard output. */
void report_print(const Results *results, GPtrArray *goals);
/* Returns false if the file cannot be written. */
bool report_write_json(const Results *results, GPtrArray *goals, const char *path);
