/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Restores the listeners of the previous process from the store, and asks the bus which of their owners are
 * still there.
 *
 * This is complete before the service requests its name, so that no client can call in between. The bus
 * itself answers, in order; no client has to.
 */

typedef struct Manager Manager;
typedef struct Restore Restore;
typedef struct sd_bus sd_bus;

/* Called once, with 0 or a negative errno. */
typedef void (*RestoreDone)(int r, void *userdata);

/* Requires the match for NameOwnerChanged. */
int restore_start(sd_bus *bus, Manager *manager, RestoreDone done, void *userdata, Restore **ret);
Restore *restore_free(Restore *restore);
