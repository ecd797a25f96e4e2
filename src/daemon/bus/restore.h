/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Goes on with what another process has left in the store: whose it is, the bus has to say.
 *
 * All of it happens before the service takes its name, so that nobody can call and find it half done. What is
 * asked of the bus is answered by the bus itself, and in order; nothing waits for a client.
 */

typedef struct Manager Manager;
typedef struct Restore Restore;
typedef struct sd_bus sd_bus;

/* It is done, with 0 or a negative errno. */
typedef void (*RestoreDone)(int r, void *userdata);

/* Needs the match for names that go. */
int restore_start(sd_bus *bus, Manager *manager, RestoreDone done, void *userdata, Restore **ret);
Restore *restore_free(Restore *restore);
