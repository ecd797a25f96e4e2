/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The pager, chosen as systemd's tools do: SYSTEMD_PAGER, PAGER, pager, less or more, and only on a terminal.
 */

#include <stdbool.h>

typedef struct Context Context;

/* Sends standard output through the pager from now on, unless it is not a terminal, there is no pager, or the
 * option --no-pager is given. */
void pager_open(const Context *c);
bool pager_is_open(void);
/* Flushes standard output and waits until the user leaves the pager. */
void pager_close(void);
