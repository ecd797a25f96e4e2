/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writes lines to standard output without waiting for their reader: unread lines are queued up to a limit,
 * and dropped beyond it. */

#include <systemd/sd-event.h>

typedef struct Output Output;

/* When the reader closes the pipe, the loop ends with 0. */
int output_new(sd_event *event, Output **ret);
Output *output_free(Output *o);

void output_line(Output *o, const char *line);
