/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A method call that has to wait before it is acted on: who is the caller, and may it?
 *
 * What the call's message says is read first and kept in the call. Then the bus is asked for the caller's
 * uid, once for each client, without waiting for the answer. Then the method says what its caller needs an
 * authorization for, and polkit is asked. Only then the method acts, once, with everything looked up anew: by
 * then the caller may be gone, or a limit reached. Whatever fails on the way denies the call.
 */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

#include "base/address.h"
#include "base/error.h"
#include "daemon/bus/polkit.h"
#include "daemon/bus/unread-bus.h"
#include "daemon/policy/options.h"
#include "daemon/policy/user.h"

typedef struct Call Call;
typedef struct Client Client;
typedef struct Manager Manager;

/* What polkit has to allow before the method may act. */
typedef struct CallNeed {
        PolkitQuestion question; /* action NULL: nothing */
        bool optional;           /* the method acts either way, and looks at Call.authorized */
        char port[8];            /* room for details */
        char address[ADDRESS_STRING_MAX];
        char name[OPTION_NAME_MAX + 1];
} CallNeed;

typedef struct CallMethod {
        /* NULL: nothing is needed. It changes nothing, and may be called again. */
        void (*need)(Call *call, CallNeed *need);
        /* Acts and replies; or returns a negative errno and may set Call.error, which is then the reply. */
        int (*act)(Call *call);
        /* Frees Call.data; NULL: there is none. */
        void (*free_data)(void *data);
} CallMethod;

/* Embedded where the calls come in. */
typedef struct CallQueue {
        sd_bus *bus;
        Manager *manager;
        Polkit *polkit;
        UnreadBus unread;
        TAILQ_HEAD(, Call) calls;
        uint32_t n_turns; /* that others had than those who call */
} CallQueue;

struct Call {
        CallQueue *queue;
        Manager *manager;
        sd_bus_message *message;
        const CallMethod *method;
        void *data;

        Client *client;  /* for the method; found anew after each wait */
        bool authorized; /* polkit allows what was needed */
        Error error;

        sd_bus_slot *slot;  /* waits for the caller's uid */
        PolkitQuery *query; /* waits for polkit */
        CallNeed need;
        UserCharge charge;
        TAILQ_ENTRY(Call) link;
};

int call_queue_init(CallQueue *queue, sd_bus *bus, Manager *manager);
void call_queue_done(CallQueue *queue);

/* The caller has left: its calls are forgotten, and what polkit was asked for them is taken back. It need not
 * be a client. */
void call_queue_cancel(CallQueue *queue, const char *sender);

/* Consumes data, also on failure. Replies in any case, now or later, and returns what a method handler
 * returns. */
int call_start(CallQueue *queue, sd_bus_message *message, const CallMethod *method, void *data);

/* For methods: refuse, and tell the log. 'action' is polkit's, or empty where the configuration forbids it to
 * everybody. The first returns the errno to be returned. */
int call_set_limit_error(Call *call, ErrorId id, const char *limit, uint32_t value);
void call_log_denied(const Call *call, const char *action, uint16_t port, const char *why);
