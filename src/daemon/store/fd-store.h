/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * systemd's fd store, which keeps copies of descriptors until the unit is stopped.
 *
 * sd_pid_notify_with_fds() blocks while the queue of systemd's socket is full. Here messages wait in the
 * process instead, and the event loop sends them in order.
 */

#include <stddef.h>

typedef struct FdStore FdStore;
typedef struct sd_event sd_event;

/* Returns -ENOTSUP without a service manager, that is without NOTIFY_SOCKET. */
int fd_store_new(sd_event *event, FdStore **ret);
FdStore *fd_store_free(FdStore *store);

/* Adds one or two descriptors under a name. They must stay open until the store is freed. systemd does not
 * poll them (FDPOLL=0), and so keeps them when their other end is closed. */
int fd_store_add(FdStore *store, const char *name, const int *fds, size_t n_fds);
void fd_store_remove(FdStore *store, const char *name);

/* Sends the messages that wait. Blocks for up to a second. */
void fd_store_flush(FdStore *store);

/* Gets a descriptor, which it consumes. */
typedef void (*FdStoreReader)(const char *name, int fd, void *userdata);

/* Passes on all descriptors that this process has received from the fd store, and returns their number. To be
 * called once. */
int fd_store_read(FdStoreReader reader, void *userdata);
