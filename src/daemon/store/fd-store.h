/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* systemd's fd store: keeps copies of descriptors for as long as the unit is there. Nothing here waits. */

#include <stddef.h>

typedef struct FdStore FdStore;

/* Returns -ENOTSUP if nobody was there to tell, by NOTIFY_SOCKET. */
int fd_store_new(FdStore **ret);
FdStore *fd_store_free(FdStore *store);

/* Returns -EAGAIN if the service manager is too busy to be told now. It does not watch the descriptors, as
 * systemd usually does. */
int fd_store_add(FdStore *store, const char *name, const int *fds, size_t n_fds);
int fd_store_remove(FdStore *store, const char *name);

/* Gets one of the descriptors, which it consumes. */
typedef void (*FdStoreReader)(const char *name, int fd, void *userdata);

/* Goes through what it has kept and handed to this process; to be called once. Returns how many there were.
 */
int fd_store_read(FdStoreReader reader, void *userdata);
