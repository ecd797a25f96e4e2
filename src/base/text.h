/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text that strangers wrote and others will read on their terminals. */

#include <stdbool.h>
#include <stddef.h>

/* True for valid UTF-8 of printable characters: no control characters, no line or paragraph separators,
 * and none of the bidirectional controls with which one text can pose as another. */
bool text_is_printable(const char *s);

/* How such text is made harmless: what is not printable becomes \x1b, byte by byte, or, where the text is
 * JSON already, \u001b. */
typedef enum TextEscape {
        TEXT_ESCAPE_BYTES,
        TEXT_ESCAPE_JSON,
} TextEscape;

/* A new string, or NULL if memory runs out. */
char *text_escape(const char *s, TextEscape escape);

/* How many columns of a terminal it takes, in the locale's idea of it; what is no text counts by its bytes.
 */
int text_get_columns(const char *s);

/* The longest beginning that takes no more columns: its length in bytes. */
size_t text_fit(const char *s, int columns);
