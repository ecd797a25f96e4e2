/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A bus in this process. The service is its only connection. The driver replies at once; polkit and the
 * clients only have names, and reply when the fuzzer calls private_bus_answer_*().
 *
 * The messages of the service are checked: each call has at most one reply, errors have documented names,
 * signals go to one client and have the documented signature.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_CLIENTS 4U
#define BUS_LOGIND ":1.5"

typedef struct FuzzMessage FuzzMessage;
typedef struct PrivateBus PrivateBus;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

/* The reply to a call of the service. */
typedef enum BusAnswer {
        BUS_ANSWER_YES,
        BUS_ANSWER_NO,        /* for polkit; or the client exports no object */
        BUS_ANSWER_CHALLENGE, /* for polkit; or the bus refuses the call to the client */
        BUS_ANSWER_ERROR,
        BUS_ANSWER_FORGED, /* from another sender */
        BUS_ANSWER_MALFORMED,
        _BUS_ANSWER_MAX,
} BusAnswer;

PrivateBus *private_bus_new(void);
PrivateBus *private_bus_free(PrivateBus *b);

/* The service's event loop and connection. */
sd_event *private_bus_get_event(PrivateBus *b);
sd_bus *private_bus_get_service_bus(PrivateBus *b);

/* Runs the bus and the service until both are idle. Returns false if the service's loop or connection has
 * ended. */
bool private_bus_run(PrivateBus *b);

/* The uids are 0, 1000, 1000, and 1001. The calls of the last two allow interactive authorization. */
const char *private_bus_get_client(unsigned client);

/* Starts a call of a client, up to the body. private_bus_send() ends and sends it. */
void private_bus_begin_call(PrivateBus *b,
                            FuzzMessage *m,
                            unsigned client,
                            const char *path,
                            const char *interface,
                            const char *member);
void private_bus_send(PrivateBus *b, FuzzMessage *m);
void private_bus_send_bytes(PrivateBus *b, const void *bytes, size_t size);
/* The serial of a message that is no call. */
uint32_t private_bus_next_serial(PrivateBus *b);

/* Disconnects the client. */
void private_bus_leave(PrivateBus *b, unsigned client);

/* Whether the driver replies at once, or at private_bus_answer_driver(). */
void private_bus_hold_driver(PrivateBus *b, bool hold);
void private_bus_answer_driver(PrivateBus *b, BusAnswer answer);

/* Replies to the oldest call. */
void private_bus_answer_polkit(PrivateBus *b, BusAnswer answer);
/* Of AcceptSocket. */
void private_bus_answer_client_call(PrivateBus *b, BusAnswer answer);
void private_bus_answer_ping(PrivateBus *b, BusAnswer answer);

/* Whether clients keep received messages and do not reply to Ping. */
void private_bus_set_lazy(PrivateBus *b, bool lazy);
/* The size of the unread messages of each client, in the statistics of the driver. */
void private_bus_set_unread(PrivateBus *b, uint32_t bytes);
/* Frees the received messages. */
void private_bus_release(PrivateBus *b);
