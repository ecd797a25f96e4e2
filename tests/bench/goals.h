/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the figures should be. */

#include <glib.h>
#include <stdbool.h>

#include "bench/results.h"

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
