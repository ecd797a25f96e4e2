/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/epoll.h>
#include <sys/param.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/episode.h"
#include "base/hash.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/gate.h"
#include "ctl/service/connection-source.h"

/* For the process itself. */
#define OWN_DESCRIPTORS 64

/* A message is printed again after so long: that the limit is reached, if it was not meanwhile; that
 * connections were refused, with their number. */
#define QUIET_USEC (UINT64_C(60) * 1000 * 1000)
/* Events of held connections that are read at once. */
#define EVENTS 64

/* A connection that waits until another one from its address ends. */
typedef struct Held {
        Connection connection;
        GateSource *source;
        TAILQ_ENTRY(Held) next;
} Held;

/* Hashed as bytes, so that it must have no padding. */
typedef struct SourceKey {
        struct in6_addr address;
        uint32_t scope;
        uint32_t family;
} SourceKey;

struct GateSource {
        SourceKey key;
        Address address; /* for messages */
        unsigned n_entered, n_held;
        TAILQ_HEAD(, Held) held; /* empty unless the address is at its limit */
        UT_hash_handle hh;
};

struct Gate {
        GateLimits limits;
        bool is_limited_by_files; /* not by --max-connections= */
        unsigned n_entered, n_held;
        bool is_paused, is_closed;
        Episode full, source_full;
        unsigned n_refused; /* since the last message about it */
        uint64_t refusals_quiet_until;
        GateSource *sources;
        int epoll; /* of held connections, edge-triggered: their peer has left; -EBADF before the first one */
        GateEnter enter;
        void *userdata;
};

int gate_new(const GateLimits *limits, GateEnter enter, void *userdata, Gate **ret) {
        Gate *g;

        g = malloc(sizeof(*g));
        if (!g)
                return -ENOMEM;

        *g = (Gate) {
                .limits = *limits,
                .epoll = -EBADF,
                .enter = enter,
                .userdata = userdata,
        };
        *ret = g;
        return 0;
}

int gate_new_within_limits(unsigned max,
                           unsigned max_per_source,
                           unsigned descriptors_each,
                           GateEnter enter,
                           void *userdata,
                           Gate **ret) {
        GateLimits limits = { .max = max, .max_per_source = max_per_source };
        unsigned possible;
        int r;

        r = descriptors_get_limit(&possible);
        if (r < 0)
                return r;

        possible = possible > 2 * OWN_DESCRIPTORS ? possible - OWN_DESCRIPTORS : OWN_DESCRIPTORS;
        limits.held_max = MIN(possible / 8, GATE_HELD_MAX);
        limits.held_max_per_source = MIN(limits.held_max / 8, GATE_HELD_MAX_PER_SOURCE);
        possible = (possible - limits.held_max) / descriptors_each;
        if (max == 0 || max > possible)
                limits.max = possible;

        r = gate_new(&limits, enter, userdata, ret);
        if (r >= 0)
                (*ret)->is_limited_by_files = limits.max != max;
        return r;
}

static SourceKey make_key(const Address *peer) {
        SourceKey key = { .family = peer->sa.sa_family };

        if (peer->sa.sa_family == AF_INET)
                memcpy(&key.address, &peer->in.sin_addr, sizeof(peer->in.sin_addr));
        else if (peer->sa.sa_family == AF_INET6) {
                key.address = peer->in6.sin6_addr;
                key.scope = peer->in6.sin6_scope_id;
        }
        return key;
}

static GateSource *ensure_source(Gate *g, const Address *peer) {
        SourceKey key = make_key(peer);
        GateSource *s;

        HASH_FIND(hh, g->sources, &key, sizeof(key), s);
        if (s)
                return s;

        s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        s->key = key;
        s->address = *peer;
        TAILQ_INIT(&s->held);
        HASH_ADD(hh, g->sources, key, sizeof(s->key), s);
        if (!hash_was_added(&s->hh)) {
                free(s);
                return NULL;
        }
        return s;
}

static void forget_source(Gate *g, GateSource *s) {
        if (s->n_entered > 0 || s->n_held > 0)
                return;
        HASH_DEL(g->sources, s);
        free(s);
}

static void enter(Gate *g, GateSource *s, const Connection *connection) {
        s->n_entered++;
        g->n_entered++;
        g->enter(connection, s, g->userdata);
}

static bool has_room(const Gate *g) {
        return g->limits.max == 0 || g->n_entered < g->limits.max;
}

static bool source_has_room(const Gate *g, const GateSource *s) {
        return g->limits.max_per_source == 0 || s->n_entered < g->limits.max_per_source;
}

bool gate_is_open(const Gate *g) {
        return !g->is_paused && !g->is_closed && has_room(g);
}

void gate_pause(Gate *g) {
        g->is_paused = true;
}

void gate_resume(Gate *g) {
        g->is_paused = false;
}

bool gate_is_paused(const Gate *g) {
        return g->is_paused;
}

static Connection release(Gate *g, Held *held) {
        Connection connection = held->connection;

        if (g->epoll >= 0)
                (void) epoll_ctl(g->epoll, EPOLL_CTL_DEL, connection.fd, NULL);
        TAILQ_REMOVE(&held->source->held, held, next);
        held->source->n_held--;
        g->n_held--;
        free(held);
        return connection;
}

static void drop(Gate *g, Held *held) {
        Connection connection = release(g, held);

        (void) close_fd(connection.fd);
}

typedef enum PeerState {
        PEER_CONNECTED, /* or it has sent data, which can be served */
        PEER_FINISHED,  /* sends nothing more, and has sent nothing; it may still read */
        PEER_RESET,
} PeerState;

static PeerState get_peer_state(int fd) {
        ssize_t n;
        char c;

        n = recv(fd, &c, sizeof(c), MSG_PEEK | MSG_DONTWAIT);
        if (n == 0)
                return PEER_FINISHED;
        return n > 0 || errno == EAGAIN ? PEER_CONNECTED : PEER_RESET;
}

static bool may_hold(const Gate *g, const GateSource *s) {
        return g->n_held < g->limits.held_max && s->n_held < g->limits.held_max_per_source;
}

/* Closes held connections that their peers have left, until there is a place for another one of this source.
 * Each connection is reported at most twice: at the end of its data, and when it is reset. */
static void make_place(Gate *g, const GateSource *s) {
        struct epoll_event events[EVENTS];
        int n;

        while (!may_hold(g, s) && g->epoll >= 0) {
                n = epoll_wait(g->epoll, events, EVENTS, 0);
                if (n <= 0)
                        return;

                for (struct epoll_event *e = events; e < events + n; e++) {
                        Held *held = e->data.ptr;

                        if (get_peer_state(held->connection.fd) != PEER_CONNECTED)
                                drop(g, held);
                }
        }
}

/* Without it, a place is free again only when the connection has been served. */
static void watch_held(Gate *g, Held *held) {
        struct epoll_event event = { .events = EPOLLRDHUP | EPOLLET, .data.ptr = held };

        if (g->epoll < 0)
                g->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (g->epoll >= 0)
                (void) epoll_ctl(g->epoll, EPOLL_CTL_ADD, held->connection.fd, &event);
}

static void print_held(Gate *g, const Address *peer) {
        char address[ADDRESS_STRING_MAX];

        if (episode_add_failure(&g->source_full, clock_get_usec(), QUIET_USEC))
                message_info(_("All %u connections from %s (--max-connections-per-source=) are in use, others "
                               "from there have to wait."),
                             g->limits.max_per_source, address_format(peer, address));
}

static int hold(Gate *g, GateSource *s, const Connection *connection) {
        Held *held;

        held = malloc(sizeof(*held));
        if (!held)
                return -ENOMEM;

        *held = (Held) { .connection = *connection, .source = s };
        TAILQ_INSERT_TAIL(&s->held, held, next);
        s->n_held++;
        g->n_held++;
        watch_held(g, held);
        return 0;
}

/* The next connection of a source. If its peer has reset it without data, nothing is left to serve. */
static bool take_held(Gate *g, GateSource *s, Connection *ret) {
        Held *held;

        while ((held = TAILQ_FIRST(&s->held))) {
                *ret = release(g, held);
                if (get_peer_state(ret->fd) != PEER_RESET)
                        return true;
                (void) close_fd(ret->fd);
        }
        return false;
}

static void print_refused(Gate *g, const GateSource *s, const Address *peer) {
        uint64_t now_usec = clock_get_usec();
        char address[ADDRESS_STRING_MAX];
        unsigned n;

        g->n_refused++;
        if (now_usec < g->refusals_quiet_until)
                return;

        n = TAKE(g->n_refused, 0);
        g->refusals_quiet_until = now_usec + QUIET_USEC;
        (void) address_format(peer, address);
        if (s->n_held >= g->limits.held_max_per_source)
                message_info(ngettext("Refused %u connection, from %s: %u of this address wait already "
                                      "(--max-connections-per-source=%u).",
                                      "Refused %u connections, the last one from %s: %u of this address wait "
                                      "already (--max-connections-per-source=%u).",
                                      n),
                             n, address, s->n_held, g->limits.max_per_source);
        else
                message_info(ngettext("Refused %u connection, from %s: %u of several addresses wait already "
                                      "(--max-connections-per-source=%u).",
                                      "Refused %u connections, the last one from %s: %u of several addresses "
                                      "wait already (--max-connections-per-source=%u).",
                                      n),
                             n, address, g->n_held, g->limits.max_per_source);
}

int gate_enter(Gate *g, const Connection *connection) {
        _cleanup_close_ int fd = connection->fd;
        GateSource *s;
        int r;

        assert(gate_is_open(g));

        s = ensure_source(g, &connection->remote);
        if (!s)
                return -ENOMEM;

        if (source_has_room(g, s)) {
                (void) TAKE_FD(fd);
                enter(g, s, connection);
                return 0;
        }

        make_place(g, s);
        if (!may_hold(g, s)) {
                print_refused(g, s, &connection->remote);
                /* An orderly end could be taken for an empty answer. */
                connection_reset_at_close(fd);
                return 0;
        }

        print_held(g, &connection->remote);
        r = hold(g, s, connection);
        if (r >= 0)
                (void) TAKE_FD(fd);
        return r;
}

int gate_take(Gate *g, ConnectionSource *from, unsigned max) {
        Connection connection;
        int r;

        for (unsigned i = 0; i < max && gate_is_open(g); i++) {
                r = connection_source_next(from, &connection);
                if (r == 0)
                        return 0;
                if (r > 0)
                        r = gate_enter(g, &connection);
                if (r >= 0)
                        continue;
                if (!connection_source_is_transient(r))
                        return r;

                message_shortage(r, connection_source_explain(r));
                gate_pause(g);
        }
        return 1;
}

void gate_exit(Gate *g, GateSource *s) {
        Connection connection;

        assert(s->n_entered > 0 && g->n_entered > 0);

        s->n_entered--;
        g->n_entered--;

        /* Those held of other addresses wait for a connection of their own address to end. */
        if (has_room(g) && source_has_room(g, s) && take_held(g, s, &connection))
                enter(g, s, &connection);

        forget_source(g, s);
}

unsigned gate_get_max(const Gate *g) {
        return g->limits.max;
}

bool gate_begin_full(Gate *g) {
        return !has_room(g) && episode_add_failure(&g->full, clock_get_usec(), QUIET_USEC);
}

/* The address that has more than half of the places, or NULL. */
static const GateSource *find_dominant_source(const Gate *g) {
        for (const GateSource *s = g->sources; s; s = s->hh.next)
                if (s->n_entered > g->n_entered / 2)
                        return s;
        return NULL;
}

void gate_print_full(const Gate *g) {
        const GateSource *s = find_dominant_source(g);
        char address[ADDRESS_STRING_MAX];

        if (g->is_limited_by_files)
                message_info(_("All %u connections that the limit of open files allows are in use, others have to "
                               "wait; \"ulimit -n\" or LimitNOFILE= raises it."),
                             g->limits.max);
        else if (s)
                message_info(_("All %u connections (--max-connections=) are in use, %u of them from %s, others have "
                               "to wait."),
                             g->limits.max, s->n_entered, address_format(&s->address, address));
        else
                message_info(_("All %u connections (--max-connections=) are in use, others have to wait."),
                             g->limits.max);
}

unsigned gate_get_entered(const Gate *g) {
        return g->n_entered;
}

void gate_print_entered(const Gate *g) {
        if (g->n_entered > 0)
                message_info(ngettext("Waiting for %u connection to end.",
                                      "Waiting for %u connections to end.", g->n_entered),
                             g->n_entered);
}

void gate_drop_held(Gate *g) {
        GateSource *s, *next;
        Held *held;

        HASH_ITER(hh, g->sources, s, next) {
                while ((held = TAILQ_FIRST(&s->held)))
                        drop(g, held);
                forget_source(g, s);
        }
        g->is_closed = true;
}

Gate *gate_free(Gate *g) {
        if (!g)
                return NULL;

        gate_drop_held(g);
        (void) close_fd(g->epoll);
        free(g);
        return NULL;
}
