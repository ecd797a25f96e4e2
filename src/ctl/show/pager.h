/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The pager, as systemd's tools have it: SYSTEMD_PAGER, PAGER, or less, on a terminal only. */

#include <stdbool.h>

typedef struct Context Context;

/* From here on standard output goes through it, unless there is no terminal, no pager, or --no-pager. */
void pager_open(const Context *c);
bool pager_is_open(void);
/* Flushes standard output and waits for the person to have seen enough. */
void pager_close(void);
