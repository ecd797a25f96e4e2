/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Goes on with what another process has left in the store. */

#include <stdbool.h>

typedef struct Manager Manager;

/* The owners, who are not known to be there yet, are given their listeners back by name: each is a client
 * that nobody has identified. On another bus than the one of before there are none of them. Listeners whose
 * owners have left are closed.
 */
int manager_restore(Manager *m, bool same_bus);

/* The owners that have been identified get their connections again. */
void manager_restore_owners(Manager *m);
