/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The options of a listener as text, for the next process (daemon/store/store.h): lines of "key=value" with
 * the keys of Listen. Options that only affect the socket are left out, because the socket itself is passed
 * on. The prefixes of allowFrom can be many; they follow the lines and a 0 in binary form
 * (daemon/policy/prefix.h).
 */

#include <stddef.h>

typedef struct ListenOptions ListenOptions;

/* The caller frees the text. */
int options_text_write(const ListenOptions *options, char **ret, size_t *ret_size);

/* Parses a text that is not trusted. Returns -EINVAL if it is malformed or has a key that this version does
 * not know, since the listener would then behave differently from its client's request. */
int options_text_read(const char *text, size_t size, ListenOptions **ret);
