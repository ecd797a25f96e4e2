/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Restores the listeners of the previous process from the store. */

#include <stdbool.h>

typedef struct Manager Manager;

/* Owners become clients that are not identified yet, found by their unique names. On another bus than before,
 * no owner exists any more. Listeners without an owner that are not persistent are closed. */
int manager_restore(Manager *m, bool same_bus);

/* Starts to deliver to the owners that have been identified, and to close a listener when its interface goes.
 */
void manager_restore_owners(Manager *m);
