/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How many bytes that were sent to each client may still be unread: replies, and signals that the client has
 * not asked for. Messages with descriptors are not counted here, as credit.h limits those.
 *
 * When 127 MiB from one sender wait in dbus-daemon for clients that do not read (max_incoming_bytes), it
 * stops reading from that sender: one client that calls and does not read would stop the service for all
 * clients. So there is a limit for each user and one for all together. But a client that has next to nothing
 * unread may always be sent something, so that clients that read do not notice those that do not.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"
#include "daemon/policy/user.h"

typedef struct Unread Unread;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_bus_slot sd_bus_slot;

/* So many bytes may always wait for a client. */
#define UNREAD_FREE (UINT64_C(16) * 1024)

/* Refusals that wait until they may be sent. On a system bus a client has no more calls at a time
 * (max_replies_per_connection); each call without an answer takes one of these from it for good. */
#define UNREAD_HELD_MAX 128

typedef struct UnreadClient {
        Unread *unread;
        UserCharge charge;   /* the bytes that may be unread */
        uint64_t sent;       /* bytes, ever */
        uint64_t asked;      /* of these, how many before the bus was asked how many wait */
        uint64_t long_bytes; /* of the charge, those of long replies that the bus has not been asked about */
        uint64_t long_asked; /* of these, how many before the bus was asked */
        sd_bus_slot *question; /* for unread-bus.c, as are the next three */
        sd_bus_message **held; /* NULL, or room for UNREAD_HELD_MAX */
        uint32_t n_held;
        bool signal_deferred; /* there was no room for a signal; its sender wants to know when there is */
        UT_hash_handle hh;
        char name[];
} UnreadClient;

/* Embedded. */
struct Unread {
        Users *users;          /* to which it is charged */
        UnreadClient *clients; /* on the bus that were sent anything */
};

UnreadClient *unread_find_client(Unread *unread, const char *name);

/* Finds the client, or makes one of USER_UNIDENTIFIED. */
int unread_acquire_client(Unread *unread, const char *name, UnreadClient **ret);
UnreadClient *unread_client_free(UnreadClient *c);

/* Moves the charge to that user. */
int unread_client_set_uid(UnreadClient *c, uid_t uid);

/* Counts a message of that size, which is sent next. */
void unread_client_count(UnreadClient *c, uint64_t size);

/* The same for a reply that may exceed the limit. It does not count against short replies before the bus says
 * that it waits. */
void unread_client_count_long(UnreadClient *c, uint64_t size);

/* The bus is asked next how many bytes wait for the client. */
void unread_client_ask(UnreadClient *c);

/* The answer. It includes other senders' bytes, so it is capped at what this service has sent. */
void unread_client_set_waiting(UnreadClient *c, uint64_t bytes);

/* How many bytes may wait for the client now. */
uint64_t unread_client_get_limit(const UnreadClient *c);

bool unread_client_has_room(const UnreadClient *c, uint64_t size);

/* A reply that is long because the caller's user has many listeners may exceed the limit, or the user could
 * not list them. There may be two of these, as the first may have been read when the second is asked for. */
bool unread_client_has_long_room(const UnreadClient *c, uint64_t size);
