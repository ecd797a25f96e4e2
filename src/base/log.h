/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Logging, at syslog's levels. */

#include <syslog.h>

#include "base/macros.h"

/* Messages less urgent than this are dropped; LOG_INFO at first. */
void log_set_level(int level);

void log_message(int level, const char *file, int line, const char *format, ...) _printf_(4, 5);

#define log_full(level, ...) log_message(level, __FILE_NAME__, __LINE__, __VA_ARGS__)
#define log_debug(...) log_full(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_full(LOG_INFO, __VA_ARGS__)
#define log_notice(...) log_full(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_full(LOG_ERR, __VA_ARGS__)
