/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Plays systemd's fd store for the service in this process, and passes the descriptors to the next service in
 * the same process. */

#include <stddef.h>

/* The descriptors of the fuzzer are at or above this number: those from systemd start at 3, and
 * fuzz_count_fds() only counts those of the service. */
#define KEEPER_FIRST_FD 256

/* To be called in a private network namespace, before the fuzzer opens descriptors. */
void keeper_init(void);
/* To be called after the fuzzer has opened its descriptors. */
void keeper_init_done(void);

/* Copies the descriptor. */
void keeper_add(const char *name, int fd);

/* Passes the descriptors as to a process that was just started. */
void keeper_start_process(void);
/* Handles the messages that the process has sent. */
void keeper_listen(void);
/* Whether a descriptor was lost, as there were too many. */
int keeper_is_full(void);
void keeper_forget(void);
