/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a stream can show: colours where somebody looks at them, and how many columns there are. */

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#define COLOUR_ERROR "\033[1;31m"
#define COLOUR_WARNING "\033[1;33m"
#define COLOUR_GOOD "\033[1;32m"
#define COLOUR_HEADER "\033[4m"
#define COLOUR_OFF "\033[0m"

/* SYSTEMD_COLORS decides, then NO_COLOR, then whether it is a terminal that is not "dumb". What goes to the
 * pager still goes to the terminal. */
bool terminal_has_colour(FILE *stream);

/* Of standard output; UINT_MAX if it is no terminal and COLUMNS does not say. */
unsigned terminal_get_columns(void);

/* From now on standard output is a pager, which is on a terminal of that width. */
void terminal_set_paged(unsigned columns);
