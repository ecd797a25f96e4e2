/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How much of what we have sent each client may not have read yet, and how much that may be: answers, and
 * signals that it has not asked for. What carries descriptors is not among it, as credit.h bounds that.
 *
 * When 127 MiB of what a sender has sent wait in dbus-daemon for those who do not read (max_incoming_bytes),
 * it stops reading from that sender: one client that calls and does not read would stop us for everybody. So
 * there is a limit for each user and one for all. But a client that has next to nothing waiting may always
 * be sent something, so that those who read do not notice those who do not.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/hash.h"

typedef struct Unread Unread;
typedef struct UnreadUser UnreadUser;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_bus_slot sd_bus_slot;

/* So much may always wait for a client. */
#define UNREAD_FREE (UINT64_C(16) * 1024)

/* A client that nobody has asked about yet, as it has called nothing that needs it. These share what a user
 * may have. */
#define UNREAD_UNIDENTIFIED ((uid_t) -1)

/* Refusals that wait until they may be sent. On a system bus a client has no more calls at a time
 * (max_replies_per_connection), and it would keep one less for good for each that is never answered. */
#define UNREAD_HELD_MAX 128

typedef struct UnreadClient {
        Unread *unread;
        UnreadUser *user;
        uint64_t bytes;        /* may wait */
        uint64_t all;          /* that were ever sent */
        uint64_t asked;        /* of these, before the bus was asked what waits */
        uint64_t long_bytes;   /* of the bytes, of long answers of which the bus has not said yet whether they
                                  wait */
        uint64_t long_asked;   /* of these, before it was asked */
        sd_bus_slot *question; /* this, and what is held, is its maker's */
        sd_bus_message **held; /* NULL, or room for UNREAD_HELD_MAX */
        uint32_t n_held;
        bool signal_deferred; /* a signal was too much for it; who wanted to send that may want to know of
                                 room */
        UT_hash_handle hh;
        char name[];
} UnreadClient;

/* Embedded. */
struct Unread {
        UnreadClient *clients; /* who has called, or was sent a signal, and not left */
        UnreadUser *users;
        uint64_t bytes;
};

UnreadClient *unread_find_client(Unread *unread, const char *name);

/* Finds it or makes one that is unidentified. */
int unread_acquire_client(Unread *unread, const char *name, UnreadClient **ret);
UnreadClient *unread_client_free(UnreadClient *c);

int unread_client_set_uid(UnreadClient *c, uid_t uid);
uid_t unread_client_get_uid(const UnreadClient *c);

/* It will be sent so many bytes: an answer, or a signal. */
void unread_client_count(UnreadClient *c, uint64_t size);

/* The same of one that may exceed the limit. It is not held against its caller before the bus says that it
 * waits. */
void unread_client_count_long(UnreadClient *c, uint64_t size);

/* The bus is being asked what waits for it. */
void unread_client_ask(UnreadClient *c);

/* The bus has so much for it that was sent before 'asked'. What may be of others' there is not held against
 * it. */
void unread_client_set_waiting(UnreadClient *c, uint64_t bytes);

/* How much may wait for all clients of its user. */
uint64_t unread_client_get_user_bytes(const UnreadClient *c);

/* How much may wait for it now. */
uint64_t unread_client_get_limit(const UnreadClient *c);

/* Whether it may be sent so much more. */
bool unread_client_has_room(const UnreadClient *c, uint64_t size);

/* An answer that is long because the caller's user has a lot may exceed the limit, or nobody could see what
 * there is: one such, and a second, as nobody knows yet that the first has been read. */
bool unread_client_has_long_room(const UnreadClient *c, uint64_t size);
