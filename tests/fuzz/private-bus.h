/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A bus in this process, with the service as its only connection. What a real bus would do is played: the
 * driver answers by itself; polkit and the clients, who have names but no connections, answer when they are
 * told to.
 *
 * What the service sends is checked on the way: each call has one reply at the most, errors have names that
 * clients know, signals go to their owner alone and have the right signature.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_CLIENTS 4U

typedef struct FuzzMessage FuzzMessage;
typedef struct PrivateBus PrivateBus;
typedef struct sd_bus sd_bus;
typedef struct sd_event sd_event;

/* How something that waits for an answer gets it. */
typedef enum BusAnswer {
        BUS_ANSWER_YES,
        BUS_ANSWER_NO,        /* polkit's */
        BUS_ANSWER_CHALLENGE, /* polkit's */
        BUS_ANSWER_ERROR,
        BUS_ANSWER_FORGED, /* from somebody else */
        BUS_ANSWER_MALFORMED,
        _BUS_ANSWER_MAX,
} BusAnswer;

PrivateBus *private_bus_new(void);
PrivateBus *private_bus_free(PrivateBus *b);

/* The service's end of it. */
sd_event *private_bus_get_event(PrivateBus *b);
sd_bus *private_bus_get_service_bus(PrivateBus *b);

/* Lets everybody do what there is to do. Returns false if the service's loop or connection has ended. */
bool private_bus_run(PrivateBus *b);

/* Their uids are 0, 1000, 1000, and 1001. The last two let polkit ask a person. */
const char *private_bus_get_client(unsigned client);

/* Starts a call of a client; everything but the body is up to the caller, who ends it with
 * private_bus_send(). */
void private_bus_begin_call(PrivateBus *b,
                            FuzzMessage *m,
                            unsigned client,
                            const char *path,
                            const char *interface,
                            const char *member);
void private_bus_send(PrivateBus *b, FuzzMessage *m);
void private_bus_send_bytes(PrivateBus *b, const void *bytes, size_t size);
/* For messages that are not calls. */
uint32_t private_bus_next_serial(PrivateBus *b);

/* The client has left the bus. */
void private_bus_leave(PrivateBus *b, unsigned client);

/* Whether the driver answers at once, or with the next private_bus_answer_driver(). */
void private_bus_hold_driver(PrivateBus *b, bool hold);
void private_bus_answer_driver(PrivateBus *b, BusAnswer answer);

/* The oldest question, Ping. */
void private_bus_answer_polkit(PrivateBus *b, BusAnswer answer);
void private_bus_answer_ping(PrivateBus *b, BusAnswer answer);

/* Whether clients answer Pings at once, and free what they have received. */
void private_bus_set_lazy(PrivateBus *b, bool lazy);
/* What the driver says that each has not read. */
void private_bus_set_unread(PrivateBus *b, uint32_t bytes);
/* They free it now. */
void private_bus_release(PrivateBus *b);
