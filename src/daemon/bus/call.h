/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A method call that waits until its caller is identified and authorized.
 *
 * The arguments are read first. Then the bus is asked for the caller's uid, and whether the caller takes
 * descriptors, and systemd for the caller's unit if the method logs it, each once for each client. Then the
 * method says which authorization it needs, and polkit is asked.
 * All questions are asynchronous. Then the method acts, once, and looks everything up again, because in the
 * meantime its caller may have left or a limit may be reached. An error in any of these steps denies the
 * call.
 */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "base/address.h"
#include "base/error.h"
#include "base/log.h"
#include "daemon/bus/close-replies.h"
#include "daemon/bus/logout.h"
#include "daemon/bus/polkit.h"
#include "daemon/bus/unit.h"
#include "daemon/bus/unread-bus.h"
#include "daemon/outbox/waiter.h"
#include "daemon/policy/options.h"
#include "daemon/policy/user.h"

typedef struct Call Call;
typedef struct Client Client;
typedef struct Manager Manager;

/* The authorization that a method needs. */
typedef struct CallNeed {
        PolkitQuestion question; /* action NULL: none is needed */
        bool optional;           /* the method acts without it, too, and checks Call.authorized */
        bool is_secret;          /* the caller may not know whether its listener exists */
        char port[8];            /* from here: the details of the question */
        char address[ADDRESS_STRING_MAX];
        char name[OPTION_NAME_MAX + 1];
} CallNeed;

typedef struct CallMethod {
        /* NULL: no authorization is needed. Has no effect but on *need, and is called again after the answer.
         */
        void (*need)(Call *call, CallNeed *need);
        /* Acts and replies; or returns a negative errno and may set Call.error, which is then the reply. */
        int (*act)(Call *call);
        /* Frees Call.data; NULL: there is none. */
        void (*free_data)(void *data);
        /* The caller will be sent descriptors. Refused where the configuration requires containment, and the
         * service is not contained. */
        bool needs_descriptors;
        /* The unit of the caller is logged. */
        bool needs_unit;
} CallMethod;

/* All pending calls. */
typedef struct CallQueue {
        sd_bus *bus;
        Manager *manager;
        Polkit *polkit;
        Units units;
        Logout logout;
        UnreadBus unread;
        TAILQ_HEAD(, Call) calls;
        CloseReplies close_replies;
        uint32_t n_turns; /* of listeners, see TURNS_PER_MESSAGE */
} CallQueue;

struct Call {
        CallQueue *queue;
        Manager *manager;
        sd_bus_message *message;
        const CallMethod *method;
        void *data;

        Client *client;  /* looked up again after each question */
        bool authorized; /* polkit has allowed the needed action */
        Error error;

        bool is_queued;
        sd_bus_slot *slot; /* the question for the caller's credentials */
        UnitQuestion *unit;
        Waiter waiter;          /* for the answer whether the caller takes descriptors */
        sd_event_source *timer; /* limits that wait */
        PolkitQuery *query;     /* the question to polkit */
        CallNeed need;
        UserCharge charge;
        TAILQ_ENTRY(Call) link;
};

int call_queue_init(CallQueue *queue, sd_bus *bus, Manager *manager);
void call_queue_done(CallQueue *queue);

/* Frees all calls of a caller that has left the bus, and cancels their questions to polkit. */
void call_queue_cancel(CallQueue *queue, const char *sender);

/* Consumes data, also on failure. Replies in any case, now or later. Returns the result of a method handler.
 */
int call_start(CallQueue *queue, sd_bus_message *message, const CallMethod *method, void *data);

/* Sets an error with the name and the value of a limit, and logs the refusal. */
int call_set_limit_error(Call *call, ErrorId id, const char *limit, uint32_t value);

/* The fields of the caller. */
LogFields call_log_fields(const Call *call);

/* Logs a refusal, with the fields of the request. Their action is polkit's, or empty if the configuration
 * refuses the request to all users. */
void call_log_denied(const Call *call, const LogFields *fields, const char *why);
