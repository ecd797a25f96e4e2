/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tells systemd what to keep, in order, and without ever waiting for it: what it has no time for now is told
 * later. */

#include <stddef.h>

typedef struct Teller Teller;
typedef struct sd_event sd_event;

/* Of a name, with the terminator: what systemd takes. */
#define TELLER_NAME_MAX 256

/* Returns -ENOTSUP if nobody is there to tell. */
int teller_new(sd_event *event, Teller **ret);
Teller *teller_free(Teller *teller);

/* At most two descriptors, which stay open until the teller is freed. Returns 0 or -ENOMEM. */
int teller_add(Teller *teller, const char *name, const int *fds, size_t n_fds);
void teller_remove(Teller *teller, const char *name);

/* The last chance for what was never told: waits for a second at the most. */
void teller_flush(Teller *teller);
