/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Suggestions for a mistyped word. */

#include <stddef.h>

/* Returns the nearest of n words, or NULL if none is near. get_word() may return NULL. */
const char *suggest(const char *typed, size_t n, const char *(*get_word)(size_t i));

/* Lists the words that begin like typed, each with the prefix, as in "--full, --fast-open". Returns NULL if
 * there are fewer than two, or if memory runs out. */
char *suggest_all(const char *typed, size_t n, const char *(*get_word)(size_t i), const char *prefix);
