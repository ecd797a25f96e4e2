/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* uthash, which would end the process when memory runs out. As set here, what could not be added to a table
 * shows it. */

#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* To be asked right after something was added. */
static inline bool hash_was_added(const UT_hash_handle *hh) {
        return hh->tbl != NULL;
}
