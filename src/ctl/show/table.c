/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <langinfo.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "ctl/cli/terminal.h"
#include "ctl/show/table.h"

/* A column is not cut shorter than this. */
#define WIDTH_MIN 6
/* Nor a title shorter than this. */
#define TITLE_MIN 4

typedef struct Cell {
        char *text;
        const char *colour;
} Cell;

struct Table {
        const TableColumn *columns;
        size_t n_columns;
        Cell *cells;
        size_t n_cells;
};

Table *table_new(const TableColumn *columns, size_t n_columns) {
        Table *t;

        t = calloc(1, sizeof(*t));
        if (!t)
                return NULL;

        t->columns = columns;
        t->n_columns = n_columns;
        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;

        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t);
        return NULL;
}

int table_add(Table *t, const char *colour, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list arguments;
        Cell *cells;
        char *cell;
        int n;

        va_start(arguments, format);
        n = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (n < 0) {
                text = NULL;
                return -ENOMEM;
        }

        cell = text_escape(*text ? text : "-", TEXT_ESCAPE_BYTES);
        if (!cell)
                return -ENOMEM;

        cells = reallocarray(t->cells, t->n_cells + 1, sizeof(*cells));
        if (!cells) {
                free(cell);
                return -ENOMEM;
        }

        t->cells = cells;
        t->cells[t->n_cells++] = (Cell) { .text = cell, .colour = colour };
        return 0;
}

static void measure(const Table *t, const Context *c, int *widths, int *minima) {
        for (size_t i = 0; i < t->n_cells; i++) {
                int width = text_get_columns(t->cells[i].text);

                if (width > widths[i % t->n_columns])
                        widths[i % t->n_columns] = width;
        }

        for (size_t i = 0; i < t->n_columns; i++) {
                int title = c->legend ? text_get_columns(t->columns[i].title) : 0;

                minima[i] = t->columns[i].shrinks && widths[i] > WIDTH_MIN ? WIDTH_MIN : widths[i];
                if (minima[i] < TITLE_MIN && title >= TITLE_MIN)
                        minima[i] = TITLE_MIN;
                if (title > widths[i])
                        widths[i] = title;
        }
}

/* Takes from the widest, until the line fits or none can be cut any more: first of what may shrink; then of
 * titles that are wider than what is below them. */
static void shrink(const Table *t, int *widths, const int *minima) {
        unsigned columns = terminal_get_columns();
        long excess;

        if (columns == UINT_MAX)
                return;

        excess = (long) t->n_columns - 1 - columns;
        for (size_t i = 0; i < t->n_columns; i++)
                excess += widths[i];

        for (bool titles = false; excess > 0; excess--) {
                size_t widest = SIZE_MAX;

                for (size_t i = 0; i < t->n_columns; i++)
                        if ((titles ? widths[i] > minima[i]
                                    : t->columns[i].shrinks && widths[i] > WIDTH_MIN) &&
                            (widest == SIZE_MAX || widths[i] > widths[widest]))
                                widest = i;
                if (widest == SIZE_MAX && titles)
                        return;
                if (widest == SIZE_MAX) {
                        titles = true;
                        excess++;
                        continue;
                }
                widths[widest]--;
        }
}

static void print_cell(const Table *t, size_t column, const char *text, const char *colour, int width) {
        const char *ellipsis = streq(nl_langinfo(CODESET), "UTF-8") ? "…" : "...";
        int columns = text_get_columns(text), length = (int) strlen(text), filling;
        bool last = column == t->n_columns - 1, cut = columns > width;

        if (cut) {
                length = (int) text_fit(text, width - text_get_columns(ellipsis));
                columns = width;
        }

        filling = width - columns;
        printf("%*s%s%.*s%s%s%*s%s", t->columns[column].right ? filling : 0, "", colour ?: "", length, text,
               cut ? ellipsis : "", colour ? COLOUR_OFF : "",
               !t->columns[column].right && !last ? filling : 0, "", last ? "\n" : " ");
}

void table_print(const Table *t, const Context *c) {
        _cleanup_free_ int *widths = NULL, *minima = NULL;
        bool colour = terminal_has_colour(stdout);

        widths = calloc(t->n_columns, sizeof(*widths));
        minima = calloc(t->n_columns, sizeof(*minima));
        if (!widths || !minima || t->n_cells == 0)
                return;

        measure(t, c, widths, minima);
        if (!c->full)
                shrink(t, widths, minima);

        for (size_t i = 0; c->legend && i < t->n_columns; i++)
                print_cell(t, i, t->columns[i].title, colour ? COLOUR_HEADER : NULL, widths[i]);
        for (size_t i = 0; i < t->n_cells; i++)
                print_cell(t, i % t->n_columns, t->cells[i].text, colour ? t->cells[i].colour : NULL,
                           widths[i % t->n_columns]);
}
