/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/relay/relay.h"

#include <assert.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/episode.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/relay/self-target.h"
#include "ctl/serve/exit-log.h"

/* Two sockets, and two pipes while bytes are on their way both ways. */
#define BRIDGE_DESCRIPTORS 6
#define EVENTS 64
/* So many connections are accepted before the others have a turn. */
#define BATCH 16
/* When descriptors or memory run out, or the target's queue is full. */
#define RETRY_MS 20
/* A message about connections is not repeated while they continue to come. */
#define QUIET_USEC (UINT64_C(10) * 1000 * 1000)

typedef TAILQ_HEAD(BridgeList, Bridge) BridgeList;

typedef enum SourceState {
        SOURCE_IDLE,
        SOURCE_WATCHED, /* by epoll */
        SOURCE_GONE,    /* no more connections come */
} SourceState;

struct Relay {
        BridgeHub hub;
        sd_event *event;
        ConnectionSource connections;
        SourceState source_state;
        Gate *gate;
        BridgeList bridges;
        BridgeList queue;    /* BRIDGE_HAS_MORE; linked by the member queue, as is the next one */
        BridgeList retrying; /* BRIDGE_RETRIES */
        BridgeList dead;     /* BRIDGE_ENDED; events that epoll has returned may still point there */
        bool may_be_target;  /* the target has the port of the relay */
        Episode loop;        /* of connections from the relay itself */
        bool is_finishing;   /* accepts only the connections that a channel still holds */
        int64_t retry_at;    /* in ms; 0: nothing waits */
        uint64_t idle_since; /* in µs: the start, or the end of the last connection */
        void (*source_ended)(void *userdata);
        void *userdata;
};

DEFINE_CLEANUP(Relay, relay_free)

static void remove_from_list(Relay *r, Bridge *b) {
        assert(b->state != BRIDGE_ENDED);

        if (b->state == BRIDGE_HAS_MORE)
                TAILQ_REMOVE(&r->queue, b, queue);
        else if (b->state == BRIDGE_RETRIES)
                TAILQ_REMOVE(&r->retrying, b, queue);
        b->state = BRIDGE_WAITS;
}

static void settle(Relay *r, Bridge *b, BridgeState state) {
        remove_from_list(r, b);

        b->state = state;
        switch (state) {

        case BRIDGE_WAITS:
                break;

        case BRIDGE_HAS_MORE:
                TAILQ_INSERT_TAIL(&r->queue, b, queue);
                break;

        case BRIDGE_RETRIES:
                TAILQ_INSERT_TAIL(&r->retrying, b, queue);
                gate_pause(r->gate);
                break;

        case BRIDGE_ENDED:
                TAILQ_REMOVE(&r->bridges, b, bridges);
                TAILQ_INSERT_TAIL(&r->dead, b, bridges);
                break;
        }
}

static BridgeState refuse_loop(Relay *r, Bridge *b) {
        if (episode_add_failure(&r->loop, clock_get_usec(), QUIET_USEC))
                (void) message_error(-ELOOP,
                                     _("The target \"%s\" is the port that the relay itself listens on; "
                                       "connections to it are reset."),
                                     r->hub.target.name);
        b->failure = _("the target is the relay itself");
        bridge_reset(b);
        return BRIDGE_ENDED;
}

static void print_start(const Relay *r, Bridge *b) {
        char peer[EXIT_LOG_PEER_MAX];

        if (!message_is_verbose())
                return;

        b->started_usec = clock_get_usec();
        message_verbose(_("Connection from %s to %s started."),
                        exit_log_format_peer(&b->connection.remote, peer), r->hub.target.name);
}

static void print_end(const Relay *r, const Bridge *b) {
        char peer[EXIT_LOG_PEER_MAX];
        unsigned long long up = b->up.n_received, down = b->down.n_received;
        double seconds;

        if (!message_is_verbose())
                return;

        seconds = (double) (clock_get_usec() - b->started_usec) / 1e6;
        exit_log_format_peer(&b->connection.remote, peer);
        if (b->failure)
                message_verbose(_("Connection from %s to %s failed after %.3f s, with %llu bytes up and %llu bytes "
                                  "down: %s."),
                                peer, r->hub.target.name, seconds, up, down, b->failure);
        else
                message_verbose(_("Connection from %s to %s ended after %.3f s, with %llu bytes up and %llu bytes "
                                  "down."),
                                peer, r->hub.target.name, seconds, up, down);
}

/* Connections that a target relays back come from this host, and occupy all places. */
static void print_full(const Relay *r, const Address *peer) {
        if (self_target_is_local(peer))
                message_info(_("All %u connections (--max-connections=) are in use, others have to wait; the last "
                               "one comes from this host: does the target \"%s\" lead back to this relay?"),
                             gate_get_max(r->gate), r->hub.target.name);
        else
                gate_print_full(r->gate);
}

static void on_enter(const Connection *connection, GateSource *source, void *userdata) {
        Relay *r = userdata;
        Bridge *b;

        if (bridge_new(connection, &b) < 0) {
                (void) sd_event_exit(r->event, message_oom());
                return;
        }

        b->source = source;
        TAILQ_INSERT_TAIL(&r->bridges, b, bridges);
        print_start(r, b);
        if (r->may_be_target && self_target_is(&r->hub.target, connection))
                settle(r, b, refuse_loop(r, b));
        else
                settle(r, b, bridge_start(b, &r->hub));
        if (gate_begin_full(r->gate))
                print_full(r, &connection->remote);
}

static int watch_source(Relay *r, bool open) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &r->connections };
        int op = open ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;

        if (r->source_state == (open ? SOURCE_WATCHED : SOURCE_IDLE) || r->source_state == SOURCE_GONE)
                return 0;

        r->source_state = open ? SOURCE_WATCHED : SOURCE_IDLE;
        /* With no events asked for, epoll would still report a hangup. */
        return epoll_ctl(r->hub.epoll, op, r->connections.fd, &event) < 0 ? -errno : 0;
}

/* Watches the source only while a connection may be accepted. */
static int update_source(Relay *r) {
        return watch_source(r, gate_is_open(r->gate));
}

static void end_source(Relay *r) {
        (void) watch_source(r, false);
        connection_source_done(&r->connections);
        r->source_state = SOURCE_GONE;
        if (!r->is_finishing)
                r->source_ended(r->userdata);
}

static void take_connections(Relay *r) {
        int k;

        if (r->source_state == SOURCE_GONE)
                return;

        k = gate_take(r->gate, &r->connections, BATCH);
        if (k < 0 || (k == 0 && r->is_finishing))
                end_source(r);
}

static void reap(Relay *r) {
        Bridge *b;

        while ((b = TAILQ_FIRST(&r->dead))) {
                GateSource *source = b->source;

                TAILQ_REMOVE(&r->dead, b, bridges);
                print_end(r, b);
                bridge_free(b, &r->hub);
                /* Another connection may enter, and end, at once. */
                gate_exit(r->gate, source);
                if (gate_get_entered(r->gate) == 0)
                        r->idle_since = clock_get_usec();
        }
}

/* Empties the list first: a bridge may be put into it again. */
static void run_bridges(Relay *r, BridgeList *list, BridgeState (*run)(Bridge *b, BridgeHub *hub)) {
        BridgeList bridges = TAILQ_HEAD_INITIALIZER(bridges);
        Bridge *b;

        TAILQ_CONCAT(&bridges, list, queue);
        while ((b = TAILQ_FIRST(&bridges))) {
                TAILQ_REMOVE(&bridges, b, queue);
                b->state = BRIDGE_WAITS;
                settle(r, b, run(b, &r->hub));
        }
}

static void retry(Relay *r) {
        gate_resume(r->gate);
        run_bridges(r, &r->retrying, bridge_start);
}

/* Dispatches all pending events of the inner loop, and arms its descriptor. Returns 1, or 0 when the loop has
 * ended. */
static int run_inner(Relay *r) {
        int k;

        if (sd_event_get_state(r->event) == SD_EVENT_ARMED) {
                k = sd_event_wait(r->event, 0);
                if (k > 0)
                        k = sd_event_dispatch(r->event);
                if (k < 0)
                        return k;
        }

        while (sd_event_get_state(r->event) != SD_EVENT_FINISHED) {
                k = sd_event_prepare(r->event);
                if (k == 0)
                        return 1;
                if (k > 0)
                        k = sd_event_dispatch(r->event);
                if (k < 0)
                        return k;
        }

        return 0;
}

/* sd_event_exit() does not wake the inner loop when it is called from outside. */
static bool is_ending(const Relay *r) {
        int code;

        return sd_event_get_exit_code(r->event, &code) >= 0;
}

/* Retries in time even if other connections are busy. Returns the timeout for epoll_wait(). */
static int retry_in_time(Relay *r) {
        int64_t now = 0;

        if (!gate_is_paused(r->gate))
                r->retry_at = 0;
        else {
                now = (int64_t) (clock_get_usec() / 1000);
                if (r->retry_at == 0)
                        r->retry_at = now + RETRY_MS;
                if (now >= r->retry_at) {
                        retry(r);
                        r->retry_at = gate_is_paused(r->gate) ? now + RETRY_MS : 0;
                }
        }

        if (!TAILQ_EMPTY(&r->queue) || !TAILQ_EMPTY(&r->dead) || is_ending(r))
                return 0;

        return r->retry_at > 0 ? (int) (r->retry_at - now) : -1;
}

static int handle_events(Relay *r, const struct epoll_event *events, int n) {
        bool inner = false;

        for (const struct epoll_event *e = events; e < events + n; e++) {
                BridgeEnd *end = e->data.ptr;

                if (e->data.ptr == r)
                        inner = true;
                else if (e->data.ptr == &r->connections)
                        take_connections(r);
                else if (end->bridge->state != BRIDGE_ENDED)
                        settle(r, end->bridge, bridge_handle(end, e->events, &r->hub));
        }
        run_bridges(r, &r->queue, bridge_resume);
        reap(r);

        inner = inner || r->source_state == SOURCE_GONE || is_ending(r);
        /* Arms a source that was added to the inner loop. */
        return inner || sd_event_get_state(r->event) != SD_EVENT_ARMED ? run_inner(r) : 1;
}

/* Returns false when there is nothing left to do. */
static bool continue_finishing(Relay *r) {
        /* The connections in a channel have been delivered: only this process has them. */
        if (r->connections.is_channel)
                take_connections(r);
        else if (r->source_state != SOURCE_GONE)
                end_source(r);

        return r->source_state != SOURCE_GONE || gate_get_entered(r->gate) > 0;
}

uint64_t relay_get_idle_usec(Relay *r) {
        take_connections(r);
        return gate_get_entered(r->gate) > 0 ? 0 : clock_get_usec() - r->idle_since;
}

void relay_finish(Relay *r) {
        assert(!r->is_finishing);

        r->is_finishing = true;
        gate_print_entered(r->gate);
}

int relay_run(Relay *r) {
        struct epoll_event events[EVENTS];
        int k, n, code, timeout;

        for (k = run_inner(r); k > 0; k = handle_events(r, events, n)) {
                if (r->is_finishing && !continue_finishing(r))
                        return 0;
                timeout = retry_in_time(r);
                k = update_source(r);
                if (k < 0)
                        break;

                n = epoll_wait(r->hub.epoll, events, EVENTS, timeout);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n < 0)
                        n = 0;
        }
        if (k < 0)
                return k;

        return sd_event_get_exit_code(r->event, &code) < 0 ? -EIO : code;
}

static int add(Relay *r, int fd, void *tag) {
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = tag };

        return epoll_ctl(r->hub.epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int relay_new(const RelayParameters *p, Relay **ret) {
        _cleanup_(relay_freep) Relay *r = NULL;
        int k;

        r = malloc(sizeof(*r));
        if (!r) {
                ConnectionSource connections = p->connections;
                Target target = p->target;

                connection_source_done(&connections);
                target_done(&target);
                return -ENOMEM;
        }

        *r = (Relay) {
                .hub = { .epoll = epoll_create1(EPOLL_CLOEXEC),
                         .target = p->target,
                         .proxy_protocol = p->proxy_protocol },
                .event = sd_event_ref(p->event),
                .connections = p->connections,
                .source_state = SOURCE_WATCHED,
                .bridges = TAILQ_HEAD_INITIALIZER(r->bridges),
                .queue = TAILQ_HEAD_INITIALIZER(r->queue),
                .retrying = TAILQ_HEAD_INITIALIZER(r->retrying),
                .dead = TAILQ_HEAD_INITIALIZER(r->dead),
                .idle_since = clock_get_usec(),
                .may_be_target = self_target_has_port(&p->target, p->port),
                .source_ended = p->source_ended,
                .userdata = p->userdata,
        };
        if (r->hub.epoll < 0)
                return -errno;

        k = gate_new_within_limits(p->max_connections, p->max_connections_per_source, BRIDGE_DESCRIPTORS,
                                   on_enter, r, &r->gate);
        if (k >= 0)
                k = add(r, sd_event_get_fd(r->event), r);
        if (k >= 0)
                k = add(r, r->connections.fd, &r->connections);
        if (k < 0)
                return k;

        *ret = TAKE_PTR(r);
        return 0;
}

Relay *relay_free(Relay *r) {
        Bridge *b;

        if (!r)
                return NULL;

        if (r->gate)
                gate_drop_held(r->gate);
        TAILQ_FOREACH(b, &r->bridges, bridges) {
                b->failure = _("the relay ends");
                bridge_reset(b);
        }
        TAILQ_CONCAT(&r->dead, &r->bridges, bridges);
        reap(r);
        gate_free(r->gate);
        connection_source_done(&r->connections);
        target_done(&r->hub.target);
        pipes_done(&r->hub.pipes);
        (void) close_fd(r->hub.epoll);
        sd_event_unref(r->event);
        free(r);
        return NULL;
}
