/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Watches the network interfaces on which listeners depend, by one rtnetlink socket for the service, which is
 * open while there is such a listener.
 *
 * The kernel never accepts again for a socket that is bound to an interface that is gone: an interface that
 * comes back under the same name has another index. If it gets the same index on request, the socket would
 * accept on an interface that may be another one. So the listener is closed.
 *
 * An interface is known by its index, and keeps it when it is renamed. After a restart of the service, and
 * after an overflow of the socket, it also has to have the last name that was seen, because the index can
 * belong to another interface by then.
 */

#include <net/if.h>
#include <stdbool.h>
#include <sys/queue.h>

typedef struct InterfaceUse InterfaceUse;
typedef struct InterfaceWatch InterfaceWatch;
typedef struct sd_event sd_event;

typedef struct InterfaceEvents {
        void (*renamed)(InterfaceUse *use);
        /* The use has ended; the call may free it. */
        void (*gone)(InterfaceUse *use);
} InterfaceEvents;

/* The interface of one listener. Zero: none. */
struct InterfaceUse {
        InterfaceWatch *watch; /* NULL: not watched */
        unsigned index;
        char name[IF_NAMESIZE]; /* as it is now */
        const InterfaceEvents *events;
        TAILQ_ENTRY(InterfaceUse) link;
};

int interface_watch_new(sd_event *event, InterfaceWatch **ret);
InterfaceWatch *interface_watch_free(InterfaceWatch *watch);

/* Reports events from now on, those since the first use included. */
void interface_watch_start(InterfaceWatch *watch);

/* Watches an interface. Returns -ENODEV if there is none with that index and name. */
int interface_watch_add(InterfaceWatch *watch,
                        unsigned index,
                        const char *name,
                        const InterfaceEvents *events,
                        InterfaceUse *use);

/* Does nothing if the use has ended. */
void interface_use_end(InterfaceUse *use);
