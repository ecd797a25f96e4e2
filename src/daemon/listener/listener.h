/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One bound socket: it accepts as fast as its delivery has room, and not at all otherwise, so that what is
 * too much waits in the kernel's queue.
 *
 * A listener belongs to the manager. It ends with listener_close(), which tells why; errors of its own socket
 * and the end of its lifetime lead there too.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/hash.h"
#include "daemon/listener/listener-end.h"
#include "daemon/listener/pacer.h"
#include "daemon/policy/quota.h"
#include "daemon/store/state.h"

typedef struct Client Client;
typedef struct Delivery Delivery;
typedef struct Handoff Handoff;
typedef struct ListenOptions ListenOptions;
typedef struct Listener Listener;
typedef struct Outbox Outbox;
typedef struct Store Store;
typedef struct StoreFound StoreFound;
typedef struct VaultEntry VaultEntry;
typedef struct sd_bus_message sd_bus_message;
typedef struct sd_event sd_event;
typedef struct sd_event_source sd_event_source;

/* What went wrong, and the place in the source that found out. */
typedef struct ListenerError {
        const char *message;
        const char *file;
        uint32_t line;
} ListenerError;

/* Told to the one who created it. */
typedef struct ListenerEvents {
        void (*error)(Listener *l, const ListenerError *error, void *userdata);
        /* Its port is free, and it is freed right after the call. */
        void (*closed)(Listener *l, ListenerEnd end, void *userdata);
        /* One of them has had its turn, and may be gone. Others may be freed in the call. */
        void (*turn)(void *userdata);
} ListenerEvents;

struct Listener {
        uint64_t id;
        char *path;
        uid_t uid;
        ListenOptions *options;
        Address address; /* as bound */
        uint32_t backlog;

        Client *owner; /* NULL while a persistent listener has none; not used by the listener itself */
        const char *owner_name; /* the client's, for the log; or NULL */
        TAILQ_ENTRY(Listener) owner_link;
        UT_hash_handle hh;
        QuotaCharge charge;
        QuotaCharge channel_charge;

        const ListenerEvents *events;
        void *userdata;
        sd_event *event;

        int fd;
        sd_event_source *accept_source;
        sd_event_source *lifetime_source;
        sd_event_source *hold_timer;
        bool paused;
        bool leaving;              /* another process goes on with it */
        bool unanswered;           /* nobody has been told of it yet */
        bool held;                 /* by the timer: out of descriptors, or faster than its rate */
        uint64_t back_off_usec;    /* 0: the last attempt worked */
        uint64_t episode_end_usec; /* until then, being out of descriptors is no news */
        Pacer pacer;
        Delivery *delivery;
        bool pushed_more; /* the last push was told that more may follow */

        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;

        Store *store;    /* NULL: it ends with the process */
        StateSlot *slot; /* of the store, with a copy of all that changes */
        VaultEntry *kept;
};

/* Binds and listens, accepts nothing before listener_set_owner(). Takes the options over on success. Returns
 * what socket_listen() does. The store may be NULL. */
int listener_new(sd_event *event,
                 uint64_t id,
                 uid_t uid,
                 ListenOptions *options,
                 Store *store,
                 const ListenerEvents *events,
                 void *userdata,
                 Listener **ret);

/* Goes on with one of before, of which it takes everything over on success. */
int listener_restore(sd_event *event,
                     StoreFound *found,
                     Store *store,
                     const ListenerEvents *events,
                     void *userdata,
                     Listener **ret);

/* The process is about to end, and the listener goes on without it: from now on nothing is accepted or handed
 * over, and calls that wait are answered. May be called again. */
void listener_leave(Listener *l);

/* Who gets its connections; NULL: nobody for the time being. May close the listener, as all that follow may.
 */
void listener_set_owner(Listener *l, Outbox *outbox);

/* Its owner has left for good: what was on the way is counted and told as lost, and the listener closed. */
void listener_end_with_owner(Listener *l);

/* Whether it is the service that accepts. */
bool listener_accepts(const Listener *l);

/* The second one only says so, and listener_go_on() does it: what the caller is told in between is true also
 * for the next process. */
void listener_pause(Listener *l);
void listener_resume(Listener *l);

/* When the call that lets it accept is answered: does so. */
void listener_go_on(Listener *l);

/* These do as DeliveryOps says; -EOPNOTSUPP if the listener's delivery knows no such thing. */
int listener_acknowledge(Listener *l, uint64_t serial);
int listener_accept(Listener *l, Outbox *caller, sd_bus_message *call, uint32_t maximum, uint32_t timeout_ms);
int listener_open_channel(Listener *l);
int listener_take_socket(Listener *l);
void listener_take_back(Listener *l);
