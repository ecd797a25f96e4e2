/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A method call that has to wait before it is acted on: who is the caller, and may it?
 *
 * What the call's message says is read first and kept in the call. Then the bus is asked for the caller's
 * uid, once for each client, without waiting for the answer; then the caller is authorized. Only then the
 * handler acts, with a client looked up anew: by then the caller may be gone, or a limit reached. Whatever
 * fails on the way denies the call.
 */

#include <sys/queue.h>
#include <systemd/sd-bus.h>

typedef struct Call Call;
typedef struct Client Client;
typedef struct Manager Manager;

typedef enum CallAction {
        CALL_ANYBODY, /* the handler decides, by the caller's uid */
        CALL_LISTEN,
} CallAction;

/* Acts and replies; or returns a negative errno and sets the error, which is replied then. */
typedef int (*CallHandler)(Call *call, sd_bus_error *error);

typedef void (*CallDataFree)(void *data);

/* Embedded where the calls come in. */
typedef struct CallQueue {
        sd_bus *bus;
        Manager *manager;
        TAILQ_HEAD(, Call) calls;
} CallQueue;

struct Call {
        CallQueue *queue;
        Manager *manager;
        Client *client; /* only for the handler */
        sd_bus_message *message;

        CallAction action;
        CallHandler handler;
        void *data;
        CallDataFree free_data;

        sd_bus_slot *slot;
        TAILQ_ENTRY(Call) link;
};

void call_queue_init(CallQueue *queue, sd_bus *bus, Manager *manager);
void call_queue_done(CallQueue *queue);

/* The caller has left: its calls are forgotten. */
void call_queue_cancel(CallQueue *queue, const char *sender);

/* Consumes data, also on failure. Replies in any case, now or later, and returns what a method handler
 * returns. */
int call_start(CallQueue *queue,
               sd_bus_message *message,
               CallAction action,
               CallHandler handler,
               void *data,
               CallDataFree free_data);
