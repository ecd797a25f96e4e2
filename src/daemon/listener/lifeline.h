/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The lifeline of a listener: a pipe. The client gets the reading end, and the listener ends when the last
 * copy of that end is closed.
 *
 * The client does not get the writing end. The kernel locks a pipe while it copies data to or from the memory
 * of a process, and a process can delay that for ever, and with it a close() of the other end in the service.
 * Nothing is ever copied from an empty pipe.
 */

#include <stdbool.h>

typedef struct SpoolEntry SpoolEntry;
typedef struct StateSlot StateSlot;
typedef struct Store Store;
typedef struct StoreFound StoreFound;
typedef struct sd_event sd_event;
typedef struct sd_event_source sd_event_source;

typedef struct Lifeline {
        sd_event *event;               /* outlives the lifeline */
        void (*ended)(void *userdata); /* may close the lifeline */
        void *userdata;

        int fd;       /* the writing end; -EBADF: there is no lifeline */
        bool is_sent; /* the client has the reading end */
        sd_event_source *source;
        SpoolEntry *saved; /* NULL: not in the store */
} Lifeline;

void lifeline_init(Lifeline *lifeline, sd_event *event, void (*ended)(void *userdata), void *userdata);

/* Returns the reading end for the client, which the caller closes; -EALREADY while there is a lifeline; or
 * another negative errno. The slot is NULL if the listener is not in the store. */
int lifeline_open(Lifeline *lifeline, Store *store, const StateSlot *slot);

/* May be called without a lifeline. */
void lifeline_close(Lifeline *lifeline);

/* Takes over the lifeline of the last process; the caller has set is_sent as it was there. lifeline_watch()
 * has to follow, as soon as the owner can be notified of the end. */
int lifeline_restore(Lifeline *lifeline, StoreFound *found);
int lifeline_watch(Lifeline *lifeline);
