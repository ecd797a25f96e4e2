/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Messages on standard error, one line each: the arguments are escaped. */

#include <stdbool.h>

#include "base/macros.h"

/* Returns r, for "return message_error(…)". */
int message_error(int r, const char *format, ...) _printf_(2, 3);
int message_oom(void);

/* "Connections have to wait: WHY.", once while a shortage lasts, for each attempt that fails. */
void message_shortage(int error, const char *why);

typedef enum MessageLevel {
        MESSAGE_QUIET, /* the option --quiet */
        MESSAGE_NORMAL,
        MESSAGE_VERBOSE, /* the option --verbose */
} MessageLevel;

void message_set_level(MessageLevel level);
/* From now on, a message that equals the one before it is not printed. */
void message_skip_repeated(void);

/* Printed unless the level is MESSAGE_QUIET. */
void message_info(const char *format, ...) _printf_(1, 2);
bool message_is_verbose(void);
/* Printed if message_is_verbose(). */
void message_verbose(const char *format, ...) _printf_(1, 2);
