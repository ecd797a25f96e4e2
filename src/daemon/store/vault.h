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
 * A pair, called a lane here, is a queue, and only its front can be taken out. What is likely to be taken out
 * in the order in which it was put in, shares a lane. Who takes something out behind others has these move to
 * another lane, one after the other; each is in a lane at any time, and for a moment it may be there twice.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Vault Vault;
typedef struct VaultEntry VaultEntry;

/* The most that an entry may have, beside PACKET_FDS_MAX descriptors. */
#define VAULT_DATA_MAX 32768

/* A new lane: somebody has to keep both of its ends open. The descriptors remain the vault's. Returns 0, or a
 * negative errno if nobody will, and then there is no such lane. */
typedef int (*VaultLaneCreated)(unsigned number, const int ends[static 2], void *userdata);

/* One half of the lanes is for what is put in, the other for what had to move. */
int vault_new(unsigned lanes_max, VaultLaneCreated created, void *userdata, Vault **ret);

/* Closes the ends. What is in the lanes stays there if somebody keeps them; no entry may be used any more. */
Vault *vault_free(Vault *v);

/* From now on vault_drop() leaves everything where it is. */
void vault_seal(Vault *v);

/* Makes the lane of a queue if there is none, which vault_put() need not do then. */
int vault_prepare(Vault *v, uint64_t queue);

/* Copies the descriptors. What has the same queue is taken out in order, if that is known. Returns -ENOSPC if
 * all lanes are full, -ETOOMANYREFS if the kernel's limit is reached, or another negative errno. */
int vault_put(Vault *v,
              uint64_t queue,
              const int *fds,
              size_t n_fds,
              const void *data,
              size_t size,
              VaultEntry **ret);

/* Takes an entry out, and closes what was in it. NULL is fine. Returns NULL. */
VaultEntry *vault_drop(VaultEntry *entry);

/* What is dropped in between is taken out at the end, all at once. */
void vault_hold(Vault *v);
void vault_release(Vault *v);

/* A lane of before, by its number. Consumes the descriptors, also on failure: -EINVAL if they are none.
 * Before anything is put into the vault. */
int vault_adopt(Vault *v, unsigned number, const int ends[static 2]);

/* One entry that was there; the descriptors are copies. Those that it takes over, it sets to a negative
 * value. Returns whether the entry stays, or a negative errno, which ends the reading and drops nothing. */
typedef int (*VaultReader)(VaultEntry *entry,
                           int *fds,
                           size_t n_fds,
                           const void *data,
                           size_t size,
                           void *userdata);

/* Goes through all that was in the lanes that were adopted. To be called once; after a failure, the vault is
 * of no use. */
int vault_read(Vault *v, VaultReader reader, void *userdata);
