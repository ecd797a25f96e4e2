/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Descriptors that outlive the process, each with data about it.
 *
 * An entry is a packet in a socket pair. The kernel keeps the packets of a socket while any process has one
 * of its ends open. systemd has copies of the ends in its fd store, and is sent a message only when a pair is
 * created, not for each entry. After a crash, the next process peeks at the packets and leaves them in place.
 *
 * Each socket pair is a queue, and only its front can be removed. Entries with the same key share a queue, as
 * they are likely to be removed in the order in which they were added. To remove an entry behind others, the
 * spool moves the others to the end of another queue, one by one: it sends a copy before it removes the
 * original, so that an entry is in at least one queue at any time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Spool Spool;
typedef struct SpoolEntry SpoolEntry;

/* The maximum size of an entry's data. It also has up to PACKET_FDS_MAX descriptors. */
#define SPOOL_DATA_MAX 32768

/* Called for a new queue, to store copies of both ends outside of the process. The spool owns the
 * descriptors. If it returns a negative errno, the queue is removed again. */
typedef int (*SpoolQueueCreated)(unsigned number, const int ends[static 2], void *userdata);

/* The first half of the queues is for new entries, the second half for entries that had to move. */
int spool_new(unsigned queues_max, SpoolQueueCreated created, void *userdata, Spool **ret);

/* Closes the ends. The entries stay in the queues of which there are copies, but must not be used any more.
 */
Spool *spool_free(Spool *spool);

/* From now on, spool_drop() does nothing. */
void spool_seal(Spool *spool);

/* Creates the queue of a key in advance, so that spool_put() need not. */
int spool_prepare(Spool *spool, uint64_t key);

/* Adds an entry with copies of the descriptors, to the queue of the key or, if that is full, to another one.
 * Returns -ENOSPC if all queues are full, -ETOOMANYREFS if the kernel's limit is reached, or another negative
 * errno. */
int spool_put(Spool *spool,
              uint64_t key,
              const int *fds,
              size_t n_fds,
              const void *data,
              size_t size,
              SpoolEntry **ret);

/* Removes an entry and closes its descriptors. Accepts NULL. Returns NULL. */
SpoolEntry *spool_drop(SpoolEntry *entry);

/* Entries that are dropped between these two are removed together by spool_release(), which is cheaper. */
void spool_hold(Spool *spool);
void spool_release(Spool *spool);

/* Adds a queue of the last process, with the number that SpoolQueueCreated() got. Consumes the descriptors,
 * also on failure. Returns -EINVAL if they are no socket pair, or the number is used. To be called before
 * spool_put(). */
int spool_adopt(Spool *spool, unsigned number, const int ends[static 2]);

/* Gets an entry of an adopted queue, with copies of its descriptors. Sets those that it takes over to a
 * negative value. Returns 1 to keep the entry, 0 to drop it, or a negative errno to stop and drop no entry at
 * all. */
typedef int (*SpoolReader)(SpoolEntry *entry,
                           int *fds,
                           size_t n_fds,
                           const void *data,
                           size_t size,
                           void *userdata);

/* Reads all entries of the adopted queues. To be called once. After a failure, the spool can only be freed.
 */
int spool_read(Spool *spool, SpoolReader reader, void *userdata);
