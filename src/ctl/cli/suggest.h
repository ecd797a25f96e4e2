/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What somebody may have meant who mistyped a word. */

#include <stddef.h>

/* The nearest of n words, or NULL if none is near. Words may be NULL. */
const char *suggest(const char *typed, size_t n, const char *(*get_word)(size_t i));

/* All that begin like that, each with the prefix, as "--full, --fast-open"; NULL if there are not several. */
char *suggest_all(const char *typed, size_t n, const char *(*get_word)(size_t i), const char *prefix);
