/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The state that the last process has saved, read and checked. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"
#include "daemon/store/state.h"

typedef struct ListenOptions ListenOptions;
typedef struct Spool Spool;
typedef struct SpoolEntry SpoolEntry;

/* A listener, channel, connection or lifeline of the last process. The code that restores it sets entry to
 * NULL and the descriptor to -EBADF; store_found_free() drops the others. */
typedef struct StoreFound {
        StatePacketType type;
        uint64_t id;
        uint64_t serial; /* of a connection */
        Address peer;
        uid_t uid; /* from here: of a listener */
        uint32_t pid;
        ListenOptions *options;
        StateSlot *slot;
        StateSlot state; /* a checked copy of the slot */

        int fd;
        SpoolEntry *entry;
} StoreFound;

/* Returns an array without duplicates: listeners, channels, connections, lifelines, each sorted by id and
 * serial. The caller frees it with store_found_free(). */
int store_found_read(StateTable *table,
                     Spool *listeners,
                     Spool *connections,
                     StoreFound **ret,
                     size_t *ret_n);
void store_found_free(StoreFound *found, size_t n);
