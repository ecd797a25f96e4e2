/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text that strangers wrote and others will read on their terminals. */

#include <stdbool.h>

/* True for valid UTF-8 of printable characters: no control characters, no line or paragraph separators,
 * and none of the bidirectional controls with which one text can pose as another. */
bool text_is_printable(const char *s);
