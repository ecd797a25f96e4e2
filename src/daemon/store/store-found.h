/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What another process has put into the store, read and checked. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/address.h"
#include "daemon/store/state.h"

typedef struct ListenOptions ListenOptions;
typedef struct Spool Spool;
typedef struct SpoolEntry SpoolEntry;

/* Something of before. Whoever takes it over sets entry to NULL and the descriptors to -EBADF; the rest is
 * dropped. */
typedef struct StoreFound {
        StatePacketType type;
        uint64_t id;
        uint64_t serial; /* of a connection */
        Address peer;
        unsigned packet_size; /* of a channel */
        uid_t uid;            /* from here: of a listener */
        ListenOptions *options;
        StateSlot *slot;
        StateSlot state; /* what was in the slot */

        int fds[2]; /* a listener's own, and its lifetime; a channel; a connection */
        SpoolEntry *entry;
} StoreFound;

/* First the listeners, then the channels, then the connections, each by id and serial. No listener is there
 * twice, nor is anything else. The caller frees it with store_found_free(). */
int store_found_read(StateTable *table,
                     Spool *listeners,
                     Spool *connections,
                     StoreFound **ret,
                     size_t *ret_n);
void store_found_free(StoreFound *found, size_t n);
