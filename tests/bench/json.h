/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The results, for programs, with every round of every figure. */

#include <glib.h>
#include <stdbool.h>

#include "bench/results.h"

/* False: it cannot be written, which is told on standard error. */
bool json_write(const Results *results, GPtrArray *goals, const char *path);
