/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which listener a call is about, and what its caller may do with it. */

#include <stdbool.h>

typedef struct Call Call;
typedef struct CallNeed CallNeed;
typedef struct Client Client;
typedef struct Listener Listener;
typedef struct Manager Manager;

/* What a caller wants to do with a listener. */
typedef enum Access {
        ACCESS_USE,   /* its owner's business */
        ACCESS_SEE,   /* list it, read its properties: the owner's user's, and an administrator's */
        ACCESS_CLOSE, /* an administrator's too */
} Access;

bool access_owns(const Client *client, const Listener *l);
bool access_may(const Call *call, const Listener *l, Access access);

/* NULL: there is none, or no longer. */
Listener *access_find_listener(Manager *m, const char *path);

/* The listener that a call is about, if the caller may do that with it. It is looked up by its path anew each
 * time: it may have ended since the call came in. */
int access_find_permitted(Call *call, Access access, Listener **ret);

/* Whoever may not do it by itself needs an administrator's authorization. */
void access_need_manage(Call *call, CallNeed *need, Access access, const char *message, bool may_ask);

/* For calls that list listeners: every user may know of its own, an administrator of all. Nobody is asked for
 * a password for it. */
void access_need_list(Call *call, CallNeed *need);
