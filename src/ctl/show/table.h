/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables, drawn by libsmartcols. If a row is too long for the terminal, columns are hidden, then shortened
 * or wrapped. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "ctl/cli/context.h"

typedef struct TableColumn {
        const char *title; /* NULL in all columns: the table has no heading */
        bool right;        /* aligned to the right, as numbers are */
        bool shrinks;
        bool wraps;    /* shrinks to several lines */
        unsigned rank; /* 0: never hidden; lower ranks are hidden before higher ones, and columns that have
                          only
                          "-" or "0" before all others */
} TableColumn;

typedef struct Table Table;

/* Borrows the columns. Returns NULL if memory runs out. */
Table *table_new(const TableColumn *columns, size_t n_columns);
Table *table_free(Table *t);

/* Adds the next cell of the row, and starts a new row after the last column. Escapes the text; an empty one
 * becomes "-". The colour is one of terminal.h, or NULL. Returns 0 or -ENOMEM. */
int table_add(Table *t, const char *colour, const char *format, ...) _printf_(3, 4);
int table_vadd(Table *t, const char *colour, const char *format, va_list arguments) _printf_(3, 0);

/* Prints nothing if there are no rows, and no heading with --no-legend. Returns 1 if columns were hidden or
 * shortened, 0 if not, or -ENOMEM. */
int table_print(Table *t, const Context *c);

DEFINE_CLEANUP(Table, table_free)
