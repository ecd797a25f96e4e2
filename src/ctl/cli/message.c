/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/episode.h"
#include "base/i18n.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/cli/terminal.h"

/* A shortage lasts until no attempt has failed for so long, which is longer than the time between attempts.
 */
#define SHORTAGE_QUIET_USEC (UINT64_C(10) * 1000 * 1000)

static MessageLevel level = MESSAGE_NORMAL;
static bool skips_repeated;
static char *last; /* the last message */

static void _printf_(3, 0)
                print(const char *before, const char *after, const char *format, va_list arguments) {
        _cleanup_free_ char *text = NULL, *line = NULL;

        if (vasprintf(&text, format, arguments) < 0) {
                text = NULL;
                return;
        }

        line = text_escape(text, TEXT_ESCAPE_BYTES);
        if (!line || (skips_repeated && last && streq(line, last)))
                return;

        (void) fprintf(stderr, "%s%s%s\n", before, line, after);
        free(last);
        last = TAKE_PTR(line);
}

int message_error(int r, const char *format, ...) {
        bool colour = terminal_has_colour(stderr);
        va_list arguments;

        va_start(arguments, format);
        print(colour ? COLOUR_ERROR : "", colour ? COLOUR_OFF : "", format, arguments);
        va_end(arguments);
        return r;
}

int message_oom(void) {
        return message_error(-ENOMEM, _("Out of memory."));
}

void message_shortage(int error, const char *why) {
        static Episode shortage;

        if (episode_add_failure(&shortage, clock_get_usec(), SHORTAGE_QUIET_USEC))
                (void) message_error(error, _("Connections have to wait: %s."), why);
}

void message_skip_repeated(void) {
        skips_repeated = true;
}

void message_set_level(MessageLevel value) {
        level = value;
}

static void _printf_(2, 0) print_at(MessageLevel least, const char *format, va_list arguments) {
        if (level >= least)
                print("", "", format, arguments);
}

void message_info(const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        print_at(MESSAGE_NORMAL, format, arguments);
        va_end(arguments);
}

bool message_is_verbose(void) {
        return level >= MESSAGE_VERBOSE;
}

void message_verbose(const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        print_at(MESSAGE_VERBOSE, format, arguments);
        va_end(arguments);
}
