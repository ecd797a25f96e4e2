/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* uthash with HASH_NONFATAL_OOM: without memory, adding an element fails instead of ending the process. */

#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* Whether the element with this handle was added. To be called right after HASH_ADD(). */
static inline bool hash_was_added(const UT_hash_handle *hh) {
        return hh->tbl != NULL;
}
