/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* --help, as systemd's tools print it. */

typedef struct Context Context;

void help_print(Context *c);

/* For the tables that it is made of. */
void help_print_heading(const char *text);
void help_print_line(const char *left, const char *right);
