/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Properties of characters by their code points, independent of the locale. */

#include <stdbool.h>
#include <stdint.h>

/* Invisible where a program does not support it: joiners, fillers, variation selectors, tags. Two texts that
 * differ only in such characters look the same. */
bool unicode_is_default_ignorable(uint32_t c);

/* Drawn over the character before it: accents, vowel signs, enclosing circles. */
bool unicode_is_nonspacing_mark(uint32_t c);
