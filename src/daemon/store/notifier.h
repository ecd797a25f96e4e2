/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tells systemd what to keep, in order, and without ever waiting for it: what it has no time for now is told
 * later. */

#include <stddef.h>

typedef struct Notifier Notifier;
typedef struct sd_event sd_event;

/* Of a name, with the terminator: what systemd takes. */
#define NOTIFIER_NAME_MAX 256

/* Returns -ENOTSUP if nobody is there to tell. */
int notifier_new(sd_event *event, Notifier **ret);
Notifier *notifier_free(Notifier *notifier);

/* At most two descriptors, which stay open until the notifier is freed. Returns 0 or -ENOMEM. */
int notifier_add(Notifier *notifier, const char *name, const int *fds, size_t n_fds);
void notifier_remove(Notifier *notifier, const char *name);

/* The last chance for what was never told: waits for a second at the most. */
void notifier_flush(Notifier *notifier);
