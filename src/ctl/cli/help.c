/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/cli/help.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/terminal.h"

#define LEFT_START 2
#define LEFT_COLUMNS 36
#define RIGHT_START (LEFT_START + LEFT_COLUMNS + 2)
#define RIGHT_COLUMNS_MIN 20
/* With less room, the right column is below the left one. */
#define RIGHT_START_NARROW 8
/* With less room, the terminal breaks the lines. */
#define COLUMNS_MIN 10

/* Prints the text from this column on, and further lines at the indentation. */
static void print_wrapped(const char *text, unsigned start, unsigned indentation) {
        unsigned columns = terminal_get_columns();

        while (columns <= INT16_MAX && columns >= start + COLUMNS_MIN) {
                size_t length = text_find_break(text, (int) (columns - start));

                if (text[length] == '\0')
                        break;
                printf("%.*s\n%*s", (int) length, text, (int) indentation, "");
                text += length + strspn(text + length, " ");
                start = indentation;
        }
        printf("%s", text);
}

void help_print_heading(const char *text) {
        bool colour = terminal_has_colour(stdout);

        printf("\n%s", colour ? COLOUR_HEADER : "");
        print_wrapped(text, 0, 0);
        printf("%s\n", colour ? COLOUR_OFF : "");
}

void help_print_text(const char *text) {
        const char *end;

        for (; *text; text = *end ? end + 1 : end) {
                _cleanup_free_ char *line = NULL;

                end = text + strcspn(text, "\n");
                line = strndup(text, (size_t) (end - text));
                if (line)
                        print_wrapped(line, 0, 0);
                putchar('\n');
        }
}

void help_print_line(const char *left, const char *right) {
        bool is_narrow = terminal_get_columns() < RIGHT_START + RIGHT_COLUMNS_MIN;
        int columns = text_get_columns(left);

        if (is_narrow) {
                printf("  ");
                print_wrapped(left, LEFT_START, RIGHT_START_NARROW);
                printf("\n%*s", RIGHT_START_NARROW, "");
                print_wrapped(right, RIGHT_START_NARROW, RIGHT_START_NARROW);
        } else {
                if (columns > LEFT_COLUMNS)
                        printf("  %s\n%*s", left, RIGHT_START, "");
                else
                        printf("  %s%*s  ", left, LEFT_COLUMNS - columns, "");
                print_wrapped(right, RIGHT_START, RIGHT_START);
        }
        putchar('\n');
}
