/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/cli/help.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ctl/cli/terminal.h"

#define LEFT_COLUMNS 36
#define RIGHT_START (LEFT_COLUMNS + 4)
/* With less room, the terminal breaks the lines. */
#define RIGHT_COLUMNS_MIN 20

void help_print_heading(const char *text) {
        bool colour = terminal_has_colour(stdout);

        printf("\n%s%s%s\n", colour ? COLOUR_HEADER : "", text, colour ? COLOUR_OFF : "");
}

/* Returns how many bytes go into a line: to the end of a word, or as many as fit if there are no words. */
static size_t find_break(const char *text, int columns) {
        size_t fitting = text_fit(text, columns), length = fitting;

        if (text[fitting] == '\0')
                return fitting;

        while (length > 0 && text[length] != ' ')
                length--;
        return length > 0 ? length : fitting;
}

static void print_wrapped(const char *text) {
        unsigned columns = terminal_get_columns();
        size_t length;

        while (columns >= RIGHT_START + RIGHT_COLUMNS_MIN && columns <= INT16_MAX) {
                length = find_break(text, (int) columns - RIGHT_START);
                if (text[length] == '\0' || length == 0)
                        break;
                printf("%.*s\n%*s", (int) length, text, RIGHT_START, "");
                text += length + strspn(text + length, " ");
        }
        puts(text);
}

void help_print_line(const char *left, const char *right) {
        int columns = text_get_columns(left);

        if (columns > LEFT_COLUMNS)
                printf("  %s\n%*s", left, RIGHT_START, "");
        else
                printf("  %s%*s  ", left, LEFT_COLUMNS - columns, "");
        print_wrapped(right);
}
