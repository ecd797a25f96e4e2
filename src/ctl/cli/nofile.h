/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How many descriptors there may be (RLIMIT_NOFILE): for the tool as many as can be had, for the programs
 * that it starts as many as it was started with, as select(2) breaks beyond 1024. */

void nofile_raise(void);
/* In a child, before it becomes another program. */
void nofile_restore(void);
