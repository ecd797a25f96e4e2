/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Calls of Close that are answered when the port is free, at the end of the grace period of the listener.
 * There is at most one for each listener, because a second caller gets UnknownObject. */

#include <stdint.h>
#include <sys/queue.h>

typedef struct CloseReply CloseReply;
typedef struct sd_bus_message sd_bus_message;

/* Embedded. */
typedef struct CloseReplies {
        TAILQ_HEAD(, CloseReply) waiting;
} CloseReplies;

void close_replies_init(CloseReplies *replies);

/* Answers the rest with an error. */
void close_replies_done(CloseReplies *replies);

/* Call it before listener_close(). */
int close_replies_add(CloseReplies *replies, sd_bus_message *call, uint64_t listener);

/* The port of the listener is free. */
void close_replies_send(CloseReplies *replies, uint64_t listener);
