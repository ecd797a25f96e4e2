/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Forwards bytes both ways between a client and the target: large amounts by splice(2), which copies nothing,
 * and small ones by recv(2) and send(2), which are faster then.
 *
 * Each direction ends by itself: an end of file is forwarded after all bytes before it, and the other
 * direction continues. A failure or a reset ends both directions, and the other peer sees a reset, too, after
 * all bytes before it. But if one peer has closed while the other still sends, the bytes that it sent before
 * arrive, followed by an ordinary end of file.
 *
 * Urgent bytes (MSG_OOB; tcp(7)) are forwarded in their place in the stream, as RFC 6093 recommends. By
 * default the kernel takes them out of the stream, which would leave half of a Telnet command, for example.
 * The urgent mark is not forwarded.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "ctl/cli/context.h"
#include "ctl/cli/target.h"
#include "ctl/relay/pipes.h"
#include "ctl/serve/gate.h"
#include "ctl/service/connection-source.h"

typedef struct Bridge Bridge;

/* One of the two sockets. epoll's data points to it. */
typedef struct BridgeEnd {
        Bridge *bridge;
        int fd;
        bool readable, writable; /* as epoll has reported it, edge-triggered */
        bool ended;              /* the peer sends nothing more */
        bool failed;             /* with an error */
        bool urgent;             /* an urgent byte can be read */
        bool is_watched;         /* by epoll */
        bool waits_to_write;     /* watched for EPOLLOUT, too */
} BridgeEnd;

typedef enum BridgeWayState {
        WAY_OPEN,
        WAY_DISCARDS, /* the receiver has closed: further bytes are read and dropped */
        WAY_FINISHED, /* the end of file was forwarded, or the receiver has closed */
} BridgeWayState;

/* One of the two directions. */
typedef struct BridgeWay {
        BridgeEnd *from, *to;
        Pipe *pipe;     /* NULL if it is empty */
        size_t n_bytes; /* in the pipe */
        uint64_t n_received;
        BridgeWayState state;
        bool is_bulk; /* the last read got many bytes: use splice(2) */
} BridgeWay;

typedef enum BridgeState {
        BRIDGE_WAITS,    /* for epoll */
        BRIDGE_HAS_MORE, /* to do; other bridges come first */
        BRIDGE_RETRIES,  /* the target's queue is full, or a resource is short: start it again later, unless
                            epoll reports something before */
        BRIDGE_ENDED,    /* to be freed */
} BridgeState;

struct Bridge {
        Connection connection; /* from the client; the descriptor is that of the end */
        BridgeEnd client, target;
        BridgeWay up, down;      /* from the client, to the client */
        size_t address, n_tried; /* of the target */
        int shortage;            /* a negative errno: no local port was free to connect from */
        bool connected;
        bool needs_header;   /* of the PROXY protocol */
        BridgeEnd *survivor; /* the other end has failed; this one is reset after all its bytes are sent */

        const char *failure; /* for messages; NULL: none */

        /* For the loop. */
        BridgeState state; /* which list the bridge is in */
        GateSource *source;
        uint64_t started_usec;
        TAILQ_ENTRY(Bridge) bridges, queue;
};

typedef struct BridgeHub {
        int epoll;
        Target target;
        Pipes pipes;
        ProxyProtocol proxy_protocol;
        bool unreachable; /* an error message says so */
} BridgeHub;

/* Consumes the descriptor of the connection, which must be non-blocking. */
int bridge_new(const Connection *connection, Bridge **ret);
void bridge_free(Bridge *b, BridgeHub *hub);

/* Makes both peers see a reset when the bridge is freed. */
void bridge_reset(Bridge *b);

/* Connects to the target, or tries again after BRIDGE_RETRIES. */
BridgeState bridge_start(Bridge *b, BridgeHub *hub);
/* Handles events of epoll for an end. */
BridgeState bridge_handle(BridgeEnd *end, uint32_t events, BridgeHub *hub);
/* Continues after BRIDGE_HAS_MORE. */
BridgeState bridge_resume(Bridge *b, BridgeHub *hub);
