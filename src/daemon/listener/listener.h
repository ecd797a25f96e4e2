/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One bound socket. It accepts only while its delivery has room; further connections wait in the kernel's
 * queue.
 *
 * A listener belongs to the manager. listener_close() closes it, also after an error of its socket and at the
 * end of its lifeline, and reports the reason.
 *
 * A revoked socket is readable for ever, and event loops spin on it. An owner that has taken the socket
 * (delivery "socket") therefore has a grace period between the report and the revocation, in which it stops
 * accepting.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "base/address.h"
#include "base/episode.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/listener/interface-watch.h"
#include "daemon/listener/lifeline.h"
#include "daemon/policy/user.h"
#include "daemon/store/state.h"

typedef struct Client Client;
typedef struct Delivery Delivery;
typedef struct ListenOptions ListenOptions;
typedef struct Listener Listener;
typedef struct LogoutUser LogoutUser;
typedef struct Store Store;
typedef struct SpoolEntry SpoolEntry;
typedef struct sd_event sd_event;
typedef struct sd_event_source sd_event_source;

/* The reason why a listener was closed, in the order of the names in listener_end_to_string(). The numbers
 * are saved for the next process. */
typedef enum ListenerEnd {
        LISTENER_END_OWNER, /* its owner has closed it or left the bus */
        LISTENER_END_LIFELINE,
        LISTENER_END_ADMINISTRATOR,
        LISTENER_END_INTERFACE, /* it is gone */
        LISTENER_END_LOGOUT,    /* its user has logged out */
        LISTENER_END_ERROR,
        LISTENER_END_SHUTDOWN,
        _LISTENER_END_MAX,
} ListenerEnd;

typedef enum ListenerState {
        LISTENER_UNANNOUNCED, /* Listen has not been answered */
        LISTENER_OPEN,
        LISTENER_CLOSING, /* in the grace period: bound, but for callers it does not exist any more */
} ListenerState;

/* What happens to a persistent listener when its user logs out; see daemon/bus/logout.h. Until logind has
 * said whether it knows the user, also across restarts of the service, a logout ends the listener, but an
 * unknown user does not. */
typedef enum ListenerLogout {
        LISTENER_LOGOUT_STAYS,
        LISTENER_LOGOUT_TO_ASK,
        LISTENER_LOGOUT_ASKED,
        LISTENER_LOGOUT_ENDS,
} ListenerLogout;

/* The arguments of the signal Error. */
typedef struct ListenerError {
        const char *message;
        const char *file; /* of this source */
        uint32_t line;
} ListenerError;

/* Called with the userdata of listener_new(). */
typedef struct ListenerEvents {
        void (*error)(Listener *l, const ListenerError *error, void *userdata);
        /* The owner is to be told that the listener is closed. The port is free, or in LISTENER_CLOSING will
         * be after the grace period. */
        void (*closed)(Listener *l, ListenerEnd end, void *userdata);
        /* The port is free. The listener is freed after the call. */
        void (*freed)(Listener *l, void *userdata);
        /* A listener has accepted, and may have been closed. The call may close others. */
        void (*turn)(void *userdata);
} ListenerEvents;

/* Limits the rate of accept(); see listener-accept.h. */
typedef struct Pacer {
        uint64_t interval_ns; /* 0: unlimited */
        uint64_t arrival_ns;
} Pacer;

/* Why the timer of a listener runs: it does not accept until then. */
typedef enum ListenerHold {
        LISTENER_HOLD_NONE,
        LISTENER_HOLD_RATE,     /* it has reached its rate */
        LISTENER_HOLD_SHORTAGE, /* of descriptors or memory; it does not send either */
} ListenerHold;

struct Listener {
        uint64_t id;
        char *path;
        uid_t uid;
        uint32_t pid; /* of the process that called Listen; 0: unknown */
        ListenOptions *options;
        Address address; /* as bound */
        InterfaceUse interface;
        bool interface_gone; /* while no process was watching */
        bool not_contained;  /* its socket has no guard, though the configuration requires one */
        uint32_t backlog;

        Client *owner;          /* NULL: a persistent listener without an owner. Used by the manager only */
        const char *owner_name; /* for the log; or NULL */
        TAILQ_ENTRY(Listener) owner_link;
        UT_hash_handle hh;
        UserCharge charge;
        UserCharge channel_charge;

        ListenerLogout logout;
        LogoutUser *logout_user; /* from here: used by daemon/bus/logout.c only */
        TAILQ_ENTRY(Listener) logout_link;

        const ListenerEvents *events;
        void *userdata;
        sd_event *event;

        ListenerState state;
        ListenerEnd end; /* in LISTENER_CLOSING */

        int fd;
        sd_event_source *accept_source;
        sd_event_source *hold_timer;
        sd_event_source *grace_timer; /* not NULL: the owner has been told that the listener is closed */
        bool paused;
        bool frozen; /* the next process continues with it */
        ListenerHold hold;
        uint64_t back_off_usec; /* 0: the last accept() succeeded */
        Episode shortage;       /* of descriptors or memory */
        sd_event_source *stall_timer;
        uint64_t stopped_usec; /* since when its delivery has no room; 0: it has */
        Episode stall;         /* of the client */
        Pacer pacer;
        Lifeline lifeline;
        Delivery *delivery;
        bool pushed_more; /* the last push() had its argument 'more' set */

        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t rejected; /* the part of 'refused' that was accepted, and that the client did not want */
        uint64_t lost;

        Store *store;    /* NULL: the listener ends with the process */
        StateSlot *slot; /* in the store, with a copy of the values that change */
        SpoolEntry *saved;
};

const char *listener_end_to_string(ListenerEnd end);

/* Copies the values that change into the store. */
void listener_save_state(Listener *l);

/* Saves the owner's name on the bus; NULL: no owner. */
void listener_save_owner(Listener *l, const char *name);

/* Saves the name that its network interface has now. */
void listener_save_interface(Listener *l);

/* Listen has been answered. */
void listener_set_announced(Listener *l);

/* The bound address, as it was when the listener was created: its interface may have another name by now. */
const char *listener_format_address(const Listener *l, char buffer[static ADDRESS_STRING_MAX]);

LogFields listener_log_fields(const Listener *l);

/* The same with the process of the owner, and all that the owner got. The address is in the buffer. */
LogFields listener_log_all_fields(const Listener *l, char address[static ADDRESS_STRING_MAX]);

void listener_raise(Listener *l,
                    const char *message_id,
                    const char *peer,
                    const char *file,
                    uint32_t line,
                    int r,
                    ErrorId id,
                    ...);

/* Logs an error and reports it to the owner, with the place of the call in the source. r is a negative errno
 * that the error describes, or 0; the values of the error follow. */
#define listener_error(l, message_id, peer, ...) \
        listener_raise(l, message_id, peer, __FILE_NAME__, __LINE__, __VA_ARGS__)

/* Counts and reports a lost connection. The peer may be NULL; see DeliveryEvents. */
void listener_count_lost(Listener *l, const Address *peer, int error);

/* Its network interface is gone: reports an error, and closes it. */
void listener_lose_interface(Listener *l);

/* Frees the port early; call listener_close() afterwards. */
void listener_free_port(Listener *l);

/* Frees the port, reports the reason, and frees the listener. Its connections that are in a message on the
 * bus may still reach the client. If the owner has taken the socket, the reason is reported first, and the
 * rest follows after the grace period. Does nothing in LISTENER_CLOSING. */
void listener_close(Listener *l, ListenerEnd end);

/* The same without a grace period, and ends one. */
void listener_close_now(Listener *l, ListenerEnd end);

/* Starts the grace period of a listener that the last process was closing. */
void listener_resume_closing(Listener *l);

/* Frees it without a report. A sealed store keeps the listener for the next process. */
Listener *listener_free(Listener *l);
