/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The tables of --help, as systemd's tools print them. */

void help_print_heading(const char *text);
/* Paragraphs. */
void help_print_text(const char *text);
void help_print_line(const char *left, const char *right);
