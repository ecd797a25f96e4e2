/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Colours and width of the terminal. */

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

#define COLOUR_ERROR "\033[1;31m"
#define COLOUR_WARNING "\033[1;33m"
#define COLOUR_GOOD "\033[1;32m"
#define COLOUR_HEADER "\033[4m"
#define COLOUR_OFF "\033[0m"

/* Decided by SYSTEMD_COLORS, then NO_COLOR, then by whether the stream is a terminal other than "dumb", or
 * leads to one through the pager. */
bool terminal_has_colour(FILE *stream);

/* The width of standard output; UINT_MAX if it is not a terminal and COLUMNS is not set. */
unsigned terminal_get_columns(void);

/* From now on standard output is a pager, on a terminal of this width. */
void terminal_set_paged(unsigned columns);
