/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Descriptors that outlive the process, each with some bytes about it.
 *
 * They are sent into socket pairs and not read back: the kernel keeps what is in a socket as long as anybody
 * has an end of it open, and somebody else has, such as systemd in its fd store, which is told of a pair once
 * and of nothing that is put into it. After the process has died, however it died, the next one reads what is
 * there, without taking it out.
 *
 * Each pair is a queue: only its front can be taken out. Entries that are likely to be taken out in the order
 * in which they were put in share a queue. To take out an entry behind others, the spool first moves these to
 * another queue, one after the other; an entry is in a queue at any time, and for a moment in two.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Spool Spool;
typedef struct SpoolEntry SpoolEntry;

/* The most that an entry may have, beside PACKET_FDS_MAX descriptors. */
#define SPOOL_DATA_MAX 32768

/* A new queue: somebody has to keep both of its ends open. The descriptors remain the spool's. Returns 0, or
 * a negative errno if nobody will, and then there is no such queue. */
typedef int (*SpoolQueueCreated)(unsigned number, const int ends[static 2], void *userdata);

/* One half of the queues is for what is put in, the other for what had to move. */
int spool_new(unsigned queues_max, SpoolQueueCreated created, void *userdata, Spool **ret);

/* Closes the ends. What is in the queues stays there if somebody keeps them; no entry may be used any more.
 */
Spool *spool_free(Spool *spool);

/* From now on spool_drop() leaves everything where it is. */
void spool_seal(Spool *spool);

/* Makes the queue of a key if there is none, which spool_put() need not do then. */
int spool_prepare(Spool *spool, uint64_t key);

/* Copies the descriptors. What has the same key is taken out in order, if that is known. Returns -ENOSPC if
 * all queues are full, -ETOOMANYREFS if the kernel's limit is reached, or another negative errno. */
int spool_put(Spool *spool,
              uint64_t key,
              const int *fds,
              size_t n_fds,
              const void *data,
              size_t size,
              SpoolEntry **ret);

/* Takes an entry out, and closes what was in it. NULL is fine. Returns NULL. */
SpoolEntry *spool_drop(SpoolEntry *entry);

/* What is dropped in between is taken out at the end, all at once. */
void spool_hold(Spool *spool);
void spool_release(Spool *spool);

/* A queue of before, by its number. Consumes the descriptors, also on failure: -EINVAL if they are none.
 * Before anything is put into the spool. */
int spool_adopt(Spool *spool, unsigned number, const int ends[static 2]);

/* One entry that was there; the descriptors are copies. Those that it takes over, it sets to a negative
 * value. Returns whether the entry stays, or a negative errno, which ends the reading and drops nothing. */
typedef int (*SpoolReader)(SpoolEntry *entry,
                           int *fds,
                           size_t n_fds,
                           const void *data,
                           size_t size,
                           void *userdata);

/* Goes through all that was in the queues that were adopted. To be called once; after a failure, the spool is
 * of no use. */
int spool_read(Spool *spool, SpoolReader reader, void *userdata);
