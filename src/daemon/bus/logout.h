/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Closes persistent listeners when their user logs out.
 *
 * logind forgets a user at the end of the last session, unless the user lingers, and then sends UserRemoved.
 * A listener of a user that logind did not know when the listener was created, such as one of a system
 * service, stays, and so does one of root. After a restart of this service or of logind, logind is asked
 * again, because the signal may have been missed.
 *
 * Nothing is subscribed to or asked while there is no such listener. Without logind, no listener is closed.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/listener/listener.h"

typedef struct LogoutUser LogoutUser;
typedef struct sd_bus sd_bus;
typedef struct sd_bus_slot sd_bus_slot;

typedef struct Logout {
        sd_bus *bus;
        LogoutUser *users; /* with listeners that end when their user logs out; by uid */

        sd_bus_slot *filter;
        bool is_subscribed;
        sd_bus_slot *owner_answer;
        char *logind; /* its unique name; NULL: it is not on the bus */

        sd_bus_slot *answer; /* not NULL: logind is asked about the user */
        uid_t asked_uid;
} Logout;

int logout_init(Logout *logout, sd_bus *bus);
void logout_done(Logout *logout);

/* Call it for each new listener before it is saved, and for each restored one. */
void logout_add(Logout *logout, Listener *l);
void logout_remove(Logout *logout, Listener *l);
