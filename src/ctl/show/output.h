/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Lines for standard output that never wait for whoever reads them: what is not read is kept for a while, and
 * then dropped. */

#include <systemd/sd-event.h>

typedef struct Output Output;

/* When nobody reads any more, the loop ends with 0. */
int output_new(sd_event *event, Output **ret);
Output *output_free(Output *o);

void output_line(Output *o, const char *line);
