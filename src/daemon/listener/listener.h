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
#include "base/episode.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/listener/pacer.h"
#include "daemon/policy/user.h"
#include "daemon/store/state.h"

typedef struct Client Client;
typedef struct Delivery Delivery;
typedef struct ListenOptions ListenOptions;
typedef struct Listener Listener;
typedef struct Store Store;
typedef struct SpoolEntry SpoolEntry;
typedef struct sd_event sd_event;
typedef struct sd_event_source sd_event_source;

/* Why a listener is closed; the names are those of the Closed signal. */
typedef enum ListenerEnd {
        LISTENER_END_OWNER, /* its owner closed it, or left */
        LISTENER_END_LIFETIME,
        LISTENER_END_ADMINISTRATOR,
        LISTENER_END_ERROR,
        LISTENER_END_SHUTDOWN,
} ListenerEnd;

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
        UserCharge charge;
        UserCharge channel_charge;

        const ListenerEvents *events;
        void *userdata;
        sd_event *event;

        int fd;
        sd_event_source *accept_source;
        sd_event_source *lifetime_source;
        sd_event_source *hold_timer;
        bool paused;
        bool frozen;            /* another process goes on with it */
        bool unannounced;       /* nobody has been told of it yet */
        bool held;              /* by the timer: out of descriptors, or faster than its rate */
        uint64_t back_off_usec; /* 0: the last attempt worked */
        Episode shortage;       /* of descriptors or memory */
        Pacer pacer;
        Delivery *delivery;
        bool pushed_more; /* the last push was told that more may follow */

        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;

        Store *store;    /* NULL: it ends with the process */
        StateSlot *slot; /* of the store, with a copy of all that changes */
        SpoolEntry *saved;
};

const char *listener_end_to_string(ListenerEnd end);

/* Whatever has changed, the next process will know. */
void listener_save_state(Listener *l);

/* Whose it is, by the name on the bus; NULL: nobody's. */
void listener_save_owner(Listener *l, const char *name);

/* The call that has made it is answered. */
void listener_set_announced(Listener *l);

/* What goes wrong, told to the log and to the owner. */
LogFields listener_log_fields(const Listener *l);

void listener_raise(Listener *l,
                    const char *message_id,
                    const char *peer,
                    const char *file,
                    uint32_t line,
                    const char *format,
                    ...) _printf_(6, 7);

/* Tells the log and the owner, with this very place in the source. */
#define listener_error(l, message_id, peer, ...) \
        listener_raise(l, message_id, peer, __FILE_NAME__, __LINE__, __VA_ARGS__)

/* The peer may be NULL; see DeliveryEvents. */
void listener_count_lost(Listener *l, const Address *peer, int error);
