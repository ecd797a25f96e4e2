/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables for a terminal, or for another program to read line by line. */

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "ctl/cli/context.h"

typedef struct TableColumn {
        const char *title;
        bool right;   /* numbers */
        bool shrinks; /* is cut short where a line would be too long for the terminal */
} TableColumn;

typedef struct Table Table;

/* The columns are not copied. Returns NULL if memory runs out. */
Table *table_new(const TableColumn *columns, size_t n_columns);
Table *table_free(Table *t);

/* Adds a cell to the row, and begins a row when the last one is full. The text is escaped; colour: of
 * terminal.h, or NULL. */
int table_add(Table *t, const char *colour, const char *format, ...) _printf_(3, 4);

/* Heads and all, unless --no-legend. Nothing if there are no rows. */
void table_print(const Table *t, const Context *c);

DEFINE_CLEANUP(Table, table_free)
