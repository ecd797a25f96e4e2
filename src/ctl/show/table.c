/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <langinfo.h>
#include <libsmartcols/libsmartcols.h>
#include <limits.h>
#include <stdio.h>

#include "base/text.h"
#include "ctl/cli/terminal.h"
#include "ctl/show/table.h"

struct Table {
        struct libscols_table *table;
        struct libscols_line *line; /* the last one */
        size_t n_cells;             /* of that line */
        bool has_titles;
};

Table *table_new(const TableColumn *columns, size_t n_columns) {
        _cleanup_(table_freep) Table *t = NULL;

        assert(n_columns > 0);

        t = calloc(1, sizeof(*t));
        if (!t)
                return NULL;
        t->table = scols_new_table();
        /* table_add() escapes more than libsmartcols does. */
        if (!t->table || scols_table_enable_noencoding(t->table, 1) < 0)
                return NULL;

        for (const TableColumn *c = columns; c < columns + n_columns; c++) {
                int flags = (c->right ? SCOLS_FL_RIGHT : 0) | (c->shrinks ? SCOLS_FL_TRUNC : 0);

                if (!scols_table_new_column(t->table, c->title ?: "", 0, flags))
                        return NULL;
                t->has_titles = t->has_titles || c->title;
        }

        return TAKE_PTR(t);
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;

        scols_unref_table(t->table);
        free(t);
        return NULL;
}

int table_vadd(Table *t, const char *colour, const char *format, va_list arguments) {
        _cleanup_free_ char *text = NULL, *escaped = NULL;
        struct libscols_cell *cell;

        if (vasprintf(&text, format, arguments) < 0) {
                text = NULL;
                return -ENOMEM;
        }

        escaped = text_escape(*text ? text : "-", TEXT_ESCAPE_BYTES);
        if (!escaped)
                return -ENOMEM;

        if (!t->line || t->n_cells == scols_table_get_ncols(t->table)) {
                t->line = scols_table_new_line(t->table, NULL);
                t->n_cells = 0;
        }
        cell = t->line ? scols_line_get_cell(t->line, t->n_cells) : NULL;
        if (!cell || (colour && scols_cell_set_color(cell, colour) < 0) ||
            scols_cell_refer_data(cell, TAKE_PTR(escaped)) < 0)
                return -ENOMEM;

        t->n_cells++;
        return 0;
}

int table_add(Table *t, const char *colour, const char *format, ...) {
        va_list arguments;
        int r;

        va_start(arguments, format);
        r = table_vadd(t, colour, format, arguments);
        va_end(arguments);
        return r;
}

/* libsmartcols cuts a cell without a mark. */
static int shorten(struct libscols_cell *cell, int width) {
        const char *ellipsis = streq(nl_langinfo(CODESET), "UTF-8") ? "…" : "...",
                   *text = scols_cell_get_data(cell);
        int columns = width - text_get_columns(ellipsis);
        char *shortened;

        if (!text || text_get_columns(text) <= width || columns <= 0)
                return 0;
        if (asprintf(&shortened, "%.*s%s", (int) text_fit(text, columns), text, ellipsis) < 0)
                return -ENOMEM;

        return scols_cell_refer_data(cell, shortened);
}

/* The widths are known after the table was printed once. */
static int shorten_all(struct libscols_table *table) {
        _cleanup_free_ char *unused = NULL;
        int r;

        r = scols_print_table_to_string(table, &unused);
        for (size_t i = 0; r >= 0 && i < scols_table_get_ncols(table); i++) {
                const struct libscols_column *column = scols_table_get_column(table, i);

                for (size_t j = 0;
                     r >= 0 && scols_column_is_trunc(column) && j < scols_table_get_nlines(table); j++)
                        r = shorten(scols_line_get_cell(scols_table_get_line(table, j), i),
                                    (int) scols_column_get_width(column));
        }
        return r;
}

static int colour_heading(struct libscols_table *table) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < scols_table_get_ncols(table); i++)
                r = scols_cell_set_color(scols_column_get_header(scols_table_get_column(table, i)),
                                         COLOUR_HEADER);
        return r;
}

int table_print(Table *t, const Context *c) {
        unsigned columns = c->full ? UINT_MAX : terminal_get_columns();
        int r;

        r = scols_table_set_stream(t->table, stdout);
        if (r >= 0)
                r = scols_table_enable_noheadings(t->table, !c->legend || !t->has_titles);
        if (r >= 0)
                r = scols_table_enable_colors(t->table, terminal_has_colour(stdout));
        if (r >= 0)
                r = colour_heading(t->table);
        if (r >= 0)
                r = scols_table_set_termforce(t->table, columns == UINT_MAX ? SCOLS_TERMFORCE_NEVER
                                                                            : SCOLS_TERMFORCE_ALWAYS);
        if (r >= 0 && columns != UINT_MAX)
                r = scols_table_set_termwidth(t->table, columns);
        if (r >= 0 && columns != UINT_MAX)
                r = shorten_all(t->table);
        if (r >= 0)
                r = scols_print_table(t->table);
        return r < 0 ? -ENOMEM : 0;
}
