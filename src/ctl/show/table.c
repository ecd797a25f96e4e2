/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <langinfo.h>
#include <libsmartcols/libsmartcols.h>
#include <limits.h>
#include <stdio.h>

#include "base/text.h"
#include "ctl/cli/terminal.h"
#include "ctl/show/table.h"

/* A column that shrinks keeps this width while another one can be hidden, and the second one in any case. */
#define WIDTH_COMFORTABLE 15
#define WIDTH_MIN 4

struct Table {
        const TableColumn *columns;
        size_t n_columns;
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
        t->columns = columns;
        t->n_columns = n_columns;
        /* table_add() escapes more than libsmartcols does. */
        if (!t->table || scols_table_enable_noencoding(t->table, 1) < 0)
                return NULL;

        for (const TableColumn *c = columns; c < columns + n_columns; c++) {
                if (!scols_table_new_column(t->table, c->title ?: "", 0, c->right ? SCOLS_FL_RIGHT : 0))
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

        if (!t->line || t->n_cells == t->n_columns) {
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

/* ----------------------------------------------------------------------------------- what fits */

/* Of one column while the table is fitted. */
typedef struct Fit {
        int width;
        int width_of_title;
        bool says_little; /* all cells are "-" or "0" */
        bool hidden;
} Fit;

static const char *get_text(const Table *t, size_t row, size_t column) {
        struct libscols_line *line = scols_table_get_line(t->table, row);

        return scols_cell_get_data(scols_line_get_cell(line, column)) ?: "";
}

static Fit measure(const Table *t, size_t column) {
        int width_of_title = text_get_columns(t->columns[column].title ?: "");
        Fit fit = { .width = width_of_title, .width_of_title = width_of_title, .says_little = true };

        for (size_t i = 0; i < scols_table_get_nlines(t->table); i++) {
                const char *text = get_text(t, i, column);
                int width = text_get_columns(text);

                if (width > fit.width)
                        fit.width = width;
                if (!streq(text, "-") && !streq(text, "0"))
                        fit.says_little = false;
        }

        return fit;
}

static int get_width(const Table *t, const Fit *fits, size_t column, int shrunk) {
        if ((!t->columns[column].shrinks && !t->columns[column].wraps) || fits[column].width <= shrunk)
                return fits[column].width;

        return shrunk < fits[column].width_of_title ? fits[column].width_of_title : shrunk;
}

/* The length of a row in which columns that shrink have at most this width. */
static int get_length(const Table *t, const Fit *fits, int shrunk) {
        int length = -1; /* the first column has no space before it */

        for (size_t i = 0; i < t->n_columns; i++)
                if (!fits[i].hidden)
                        length += 1 + get_width(t, fits, i, shrunk);
        return length;
}

/* Returns the column of the lowest rank, if there is one that can be hidden. */
static Fit *find_next_to_hide(const Table *t, Fit *fits, bool only_if_says_little) {
        Fit *found = NULL;
        unsigned rank = 0;

        for (size_t i = 0; i < t->n_columns; i++) {
                unsigned this_rank = t->columns[i].rank;

                if (this_rank == 0 || fits[i].hidden || (only_if_says_little && !fits[i].says_little) ||
                    (found && this_rank > rank))
                        continue;
                found = fits + i;
                rank = this_rank;
        }

        return found;
}

/* libsmartcols cuts a cell without a mark. */
static int shorten(struct libscols_cell *cell, int width) {
        const char *ellipsis = streq(nl_langinfo(CODESET), "UTF-8") ? "…" : "...",
                   *text = scols_cell_get_data(cell);
        char *shortened;

        if (!text || text_get_columns(text) <= width)
                return 0;
        if (asprintf(&shortened, "%.*s%s", (int) text_fit(text, width - text_get_columns(ellipsis)), text,
                     ellipsis) < 0)
                return -ENOMEM;

        return scols_cell_refer_data(cell, shortened);
}

/* libsmartcols prints a cell of such a column as lines. */
static int wrap(struct libscols_cell *cell, int width) {
        const char *text = scols_cell_get_data(cell);
        _cleanup_free_ char *lines = NULL;
        size_t size, length;
        FILE *f;

        if (!text || text_get_columns(text) <= width)
                return 0;
        f = open_memstream(&lines, &size);
        if (!f)
                return -ENOMEM;
        while (text[length = text_find_break(text, width)]) {
                (void) fprintf(f, "%.*s\n", (int) length, text);
                text += length + strspn(text + length, " ");
        }
        (void) fputs(text, f);
        if (!text_finish(f, &lines))
                return -ENOMEM;

        return scols_cell_refer_data(cell, TAKE_PTR(lines));
}

/* Gives the columns that shrink this width, and what remains to the last ones. */
static void set_widths(const Table *t, Fit *fits, int shrunk, int columns) {
        int remaining = columns - get_length(t, fits, shrunk);

        for (size_t i = t->n_columns; i > 0; i--) {
                int width = get_width(t, fits, i - 1, shrunk);

                if (!fits[i - 1].hidden && width < fits[i - 1].width && remaining > 0) {
                        width++;
                        remaining--;
                }
                fits[i - 1].width = width;
        }
}

static int apply(const Table *t, const Fit *fits) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < t->n_columns; i++) {
                struct libscols_column *column = scols_table_get_column(t->table, i);
                bool wraps = t->columns[i].wraps;

                if (fits[i].hidden)
                        r = scols_column_set_flags(column, SCOLS_FL_HIDDEN);
                else if (wraps)
                        r = scols_column_set_flags(column, SCOLS_FL_WRAP)
                                            ?: scols_column_set_wrapfunc(column, scols_wrapnl_chunksize,
                                                                         scols_wrapnl_nextchunk, NULL);
                for (size_t j = 0; r >= 0 && !fits[i].hidden && j < scols_table_get_nlines(t->table); j++) {
                        struct libscols_line *line = scols_table_get_line(t->table, j);

                        r = (wraps ? wrap : shorten)(scols_line_get_cell(line, i), fits[i].width);
                }
        }
        return r;
}

/* Returns 1 if something is hidden or shortened. */
static int fit_to(Table *t, int columns) {
        _cleanup_free_ Fit *fits = NULL;
        int shrunk = WIDTH_MIN, widest = 0;
        Fit *next;

        fits = calloc(t->n_columns, sizeof(*fits));
        if (!fits)
                return -ENOMEM;
        for (size_t i = 0; i < t->n_columns; i++) {
                fits[i] = measure(t, i);
                if (fits[i].width > widest)
                        widest = fits[i].width;
        }
        if (get_length(t, fits, widest) <= columns)
                return 0;

        while (get_length(t, fits, widest) > columns && (next = find_next_to_hide(t, fits, true)))
                next->hidden = true;
        while (get_length(t, fits, WIDTH_COMFORTABLE) > columns && (next = find_next_to_hide(t, fits, false)))
                next->hidden = true;
        /* The greatest width that leaves room for all. */
        while (shrunk < widest && get_length(t, fits, shrunk + 1) <= columns)
                shrunk++;

        set_widths(t, fits, shrunk, columns);
        return apply(t, fits) < 0 ? -ENOMEM : 1;
}

/* -------------------------------------------------------------------------------------- output */

static int colour_heading(struct libscols_table *table) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < scols_table_get_ncols(table); i++)
                r = scols_cell_set_color(scols_column_get_header(scols_table_get_column(table, i)),
                                         COLOUR_HEADER);
        return r;
}

int table_print(Table *t, const Context *c) {
        unsigned columns = c->full ? UINT_MAX : terminal_get_columns();
        int r, fitted = 0;

        if (columns <= INT_MAX && scols_table_get_nlines(t->table) > 0) {
                fitted = fit_to(t, (int) columns);
                if (fitted < 0)
                        return fitted;
        }

        r = scols_table_set_stream(t->table, stdout);
        if (r >= 0)
                r = scols_table_enable_noheadings(t->table, !c->legend || !t->has_titles);
        if (r >= 0)
                r = scols_table_enable_colors(t->table, terminal_has_colour(stdout));
        if (r >= 0)
                r = colour_heading(t->table);
        if (r >= 0)
                r = scols_table_set_termforce(t->table, SCOLS_TERMFORCE_NEVER);
        if (r >= 0)
                r = scols_print_table(t->table);
        return r < 0 ? -ENOMEM : fitted;
}
