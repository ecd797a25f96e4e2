/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text from clients that is shown on terminals of other users. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* True for valid UTF-8 without control characters, line and paragraph separators, noncharacters,
 * bidirectional controls and other default-ignorable characters, which can make one text look like another,
 * and without more than four nonspacing marks on one character. */
bool text_is_printable(const char *s);

/* How to escape characters that are not printable: each byte as \x1b, which includes characters that the
 * locale's codeset does not have; or, in the UTF-8 text of a JSON document, each character as \u001b, for
 * another codeset each character beyond ASCII. */
typedef enum TextEscape {
        TEXT_ESCAPE_BYTES,
        TEXT_ESCAPE_JSON,
} TextEscape;

/* Returns a new string, or NULL without memory. */
char *text_escape(const char *s, TextEscape escape);

/* Closes a stream of open_memstream(). Returns its text, which is freed and NULL without memory. */
char *text_finish(FILE *f, char **text);

/* The number of columns on a terminal, by the locale. Invalid bytes count one column each. */
int text_get_columns(const char *s);

/* The length in bytes of the longest prefix that fits into this number of columns. */
size_t text_fit(const char *s, int columns);

/* The length in bytes of the first line of a text that is wrapped to this number of columns: up to the space
 * after its last word, or as much as fits if that is a part of a word. There are at least two columns. */
size_t text_find_break(const char *s, int columns);
