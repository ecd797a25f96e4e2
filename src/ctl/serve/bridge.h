/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One connection and its counterpart at the target, and the bytes that go both ways between them: much of it
 * by splice(2), which copies nothing, and what little comes at a time by a copy, which is faster then. Each
 * direction ends by itself: an end of file is passed on once all before it was, and the other direction goes
 * on. A failure or a reset ends both, and the peers see a reset, too, after all that came before it. But
 * where one has closed while the other still sends, what it said before that still arrives as an ordinary
 * end.
 *
 * Urgent bytes (MSG_OOB; tcp(7)) are bytes of the stream, in their place, as RFC 6093 wants them to be read:
 * the kernel would take them out, and what is left is another stream, half of a Telnet command for example.
 * That they are urgent is not passed on, on which nobody can rely.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "ctl/cli/target.h"
#include "ctl/serve/gate.h"
#include "ctl/serve/pipes.h"

typedef struct Bridge Bridge;

/* What epoll's data points to. */
typedef struct BridgeEnd {
        Bridge *bridge;
        int fd;
        bool readable, writable; /* as far as is known; edge-triggered */
        bool ended;              /* after what can be read, nothing comes any more */
        bool failed;             /* there was an error in place of an end */
        bool urgent;             /* an urgent byte is among what can be read */
        bool is_watched;         /* by epoll */
        bool waits_to_write;     /* epoll tells that, too */
} BridgeEnd;

typedef struct BridgeWay {
        BridgeEnd *from, *to;
        Pipe *pipe;     /* NULL when it is empty */
        size_t n_bytes; /* in the pipe */
        bool is_bulk;   /* much came the last time */
        bool finished;  /* the end of file was passed on, or nobody is there to have it */
        bool discards;  /* nobody is there to have it, but it is read */
} BridgeWay;

struct Bridge {
        BridgeEnd client, target;
        BridgeWay up, down;      /* from the client, to the client */
        size_t address, n_tried; /* of the target */
        int shortage;            /* a negative errno: there was no port to connect from */
        bool connected;
        BridgeEnd *survivor; /* the other end has failed: to be reset once all is sent to this one */
        bool is_queued, is_retrying, is_dead; /* the loop's */
        GateSource *source;                   /* the same */
        TAILQ_ENTRY(Bridge) bridges, queue;
};

typedef struct BridgeHub {
        int epoll;
        Target target;
        Pipes pipes;
        bool unreachable; /* has been said */
} BridgeHub;

typedef enum BridgeState {
        BRIDGE_WAITS,    /* for epoll */
        BRIDGE_HAS_MORE, /* there is more to do; it is others' turn */
        BRIDGE_RETRIES, /* the target's queue is full, or the machine is short of something, and nothing tells
                           when that is over: start it again later, unless something happens before */
        BRIDGE_ENDED,   /* to be freed */
} BridgeState;

/* Consumes the descriptor, a non-blocking one. */
int bridge_new(int client, Bridge **ret);
Bridge *bridge_free(Bridge *b, BridgeHub *hub);

/* Its peers shall see that it was ended before its time. To be freed then. */
void bridge_reset(Bridge *b);

/* Connects to the target. After BRIDGE_RETRIES, too. */
BridgeState bridge_start(Bridge *b, BridgeHub *hub);
/* What epoll says of an end. */
BridgeState bridge_handle(BridgeEnd *end, uint32_t events, BridgeHub *hub);
/* After BRIDGE_HAS_MORE. */
BridgeState bridge_resume(Bridge *b, BridgeHub *hub);
