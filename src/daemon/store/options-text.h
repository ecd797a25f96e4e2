/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The options of a listener as text, for the next process (daemon/store/store.h): lines of "key=value", the
 * keys those of Listen. What the socket itself knows is not there. The prefixes of allowFrom, of which there
 * may be many, follow the lines and a 0, in bytes (daemon/policy/prefix.h).
 */

#include <stddef.h>

typedef struct ListenOptions ListenOptions;

/* The caller frees the text. */
int options_text_write(const ListenOptions *options, char **ret, size_t *ret_size);

/* The text may be anything. Returns -EINVAL for what is no such text, and for a key that this version does
 * not know: the listener would not be what its client was promised. */
int options_text_read(const char *text, size_t size, ListenOptions **ret);
