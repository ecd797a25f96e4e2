/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tool has to say to a person, on standard error; one line each, whatever is in the arguments. */

#include "base/macros.h"

/* Returns r, for "return message_error(…)". */
int message_error(int r, const char *format, ...) _printf_(2, 3);
int message_oom(void);

/* Not with --quiet. */
void message_set_quiet(bool quiet);
void message_info(const char *format, ...) _printf_(1, 2);
