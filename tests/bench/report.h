/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The results, for people: on standard output. */

#include <glib.h>

#include "bench/results.h"

void report_print(const Results *results, GPtrArray *goals);
