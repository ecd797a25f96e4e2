/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

static int log_level = LOG_INFO;

void log_set_level(int level) {
        log_level = level;
}

void log_message(int level, const char *file, int line, const char *format, ...) {
        char text[2048];
        va_list arguments;

        if (level > log_level)
                return;

        va_start(arguments, format);
        (void) vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);

        /* A terminal gets plain lines. Anything else may be the journal's stream, which reads the level
         * from the prefix that sd-daemon(3) describes. */
        if (isatty(STDERR_FILENO))
                fprintf(stderr, "%s\n", text);
        else
                fprintf(stderr, "<%i>%s\n", level, text);
}
