/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/parse.h"
#include "ctl/cli/terminal.h"

static unsigned paged_columns; /* 0: there is no pager */

/* SYSTEMD_COLORS is a boolean or one of the other values of systemd's tools. Returns -1 if it does not
 * decide. */
static int get_systemd_colours(void) {
        static const char *const on[] = { "16", "256", "24bit", "auto-16", "auto-256", "auto-24bit" };
        const char *value = getenv("SYSTEMD_COLORS");
        bool b;

        if (!value)
                return -1;
        if (parse_boolean(value, &b) == 0)
                return b;

        for (size_t i = 0; i < ELEMENTS(on); i++)
                if (streq(value, on[i]))
                        return i < 3 ? 1 : -1;

        return -1;
}

bool terminal_has_colour(FILE *stream) {
        const char *term = getenv("TERM");
        int wanted = get_systemd_colours();

        if (wanted >= 0)
                return wanted;
        if (getenv("NO_COLOR") || !term || streq(term, "dumb"))
                return false;

        return (stream == stdout && paged_columns > 0) || isatty(fileno(stream));
}

unsigned terminal_get_columns(void) {
        const char *value = getenv("COLUMNS");
        struct winsize size;
        uint32_t columns;

        if (paged_columns > 0)
                return paged_columns;
        if (value && parse_uint32(value, 1, UINT16_MAX, &columns) == 0)
                return columns;
        if (!isatty(STDOUT_FILENO))
                return UINT_MAX;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void terminal_set_paged(unsigned columns) {
        paged_columns = columns;
}
