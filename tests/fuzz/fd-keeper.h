/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* systemd's fd store, played: what the service hands over is kept under its name, and given to the next
 * process, which is this one. */

#include <stddef.h>

/* All descriptors of the fuzzer go above this, so that systemd's have the numbers from 3 on, and
 * fuzz_count_fds() counts the service's alone. */
#define KEEPER_FIRST_FD 256

/* To be called in a network of our own, before anything opens a descriptor. */
void keeper_init(void);
/* Those opened before this stay where they are. */
void keeper_init_done(void);

/* Copies the descriptor. */
void keeper_keep(const char *name, int fd);

/* Makes them the process's, as if it was just started. */
void keeper_start_process(void);
/* Reads what the process has told. */
void keeper_listen(void);
/* Whether something was lost, since there was too much. */
int keeper_is_full(void);
void keeper_forget(void);
