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
        ACCESS_USE,   /* for the owner */
        ACCESS_SEE,   /* list it and read its properties: also for the owner's user, and for administrators */
        ACCESS_CLOSE, /* also for administrators */
} Access;

bool access_owns(const Client *client, const Listener *l);
bool access_may(const Call *call, const Listener *l, Access access);

/* Whether a listener can have this path. */
bool access_is_listener_path(const char *path);

/* Returns NULL if there is no such listener. Finds one in its grace period, too. */
Listener *access_find_listener(Manager *m, const char *path);

/* Finds the listener of a call by its path, and checks that the caller has that access; else sets Call.error,
 * which is the same for a listener that the caller may not see as for one that does not exist. */
int access_find_permitted(Call *call, Access access, Listener **ret);

/* Makes the caller the owner of a listener that has none. Replies with its path, or if that is NULL with
 * nothing.
 */
int access_adopt(Call *call, Listener *l, const char *path);

/* A caller without that access needs an administrator's authorization, also if the listener does not exist.
 * The message may be NULL if may_ask is false. */
void access_need_manage(Call *call, CallNeed *need, Access access, const char *message, bool may_ask);

/* For calls that list listeners: a user sees its own, and an administrator all. No password is asked for. */
void access_need_list(Call *call, CallNeed *need);
