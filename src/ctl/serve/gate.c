/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/queue.h>

#include "base/descriptors.h"
#include "base/hash.h"
#include "base/i18n.h"
#include "base/macros.h"
#include "ctl/cli/message.h"
#include "ctl/serve/gate.h"
#include "ctl/service/connection-source.h"

/* For the process itself. */
#define OWN_DESCRIPTORS 64

/* A connection that waits until another one from its address ends. */
typedef struct Held {
        Connection connection;
        STAILQ_ENTRY(Held) next;
} Held;

/* Hashed as bytes, so that it must have no padding. */
typedef struct SourceKey {
        struct in6_addr address;
        uint32_t scope;
        uint32_t family;
} SourceKey;

struct GateSource {
        SourceKey key;
        unsigned n_entered;
        STAILQ_HEAD(, Held) held; /* empty unless the address is at its limit */
        UT_hash_handle hh;
};

struct Gate {
        unsigned max, max_per_source, held_max;
        unsigned n_entered, n_held;
        bool is_paused;
        GateSource *sources;
        GateEnter enter;
        void *userdata;
};

int gate_new(unsigned max,
             unsigned max_per_source,
             unsigned held_max,
             GateEnter enter,
             void *userdata,
             Gate **ret) {
        Gate *g;

        g = malloc(sizeof(*g));
        if (!g)
                return -ENOMEM;

        *g = (Gate) {
                .max = max,
                .max_per_source = max_per_source,
                .held_max = held_max,
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
        unsigned possible, held_max;
        int r;

        r = descriptors_get_limit(&possible);
        if (r < 0)
                return r;

        possible = possible > 2 * OWN_DESCRIPTORS ? possible - OWN_DESCRIPTORS : OWN_DESCRIPTORS;
        held_max = possible / 8 < GATE_HELD_MAX ? possible / 8 : GATE_HELD_MAX;
        possible = (possible - held_max) / descriptors_each;
        if (max == 0 || max > possible)
                max = possible;

        return gate_new(max, max_per_source, held_max, enter, userdata, ret);
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
        STAILQ_INIT(&s->held);
        HASH_ADD(hh, g->sources, key, sizeof(s->key), s);
        if (!hash_was_added(&s->hh)) {
                free(s);
                return NULL;
        }
        return s;
}

static void forget_source(Gate *g, GateSource *s) {
        if (s->n_entered > 0 || !STAILQ_EMPTY(&s->held))
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
        return g->max == 0 || g->n_entered < g->max;
}

static bool source_has_room(const Gate *g, const GateSource *s) {
        return g->max_per_source == 0 || s->n_entered < g->max_per_source;
}

bool gate_is_open(const Gate *g) {
        return !g->is_paused && has_room(g) && g->n_held < g->held_max;
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

int gate_enter(Gate *g, const Connection *connection) {
        _cleanup_close_ int fd = connection->fd;
        GateSource *s;
        Held *held;

        assert(gate_is_open(g));

        s = ensure_source(g, &connection->remote);
        if (!s)
                return -ENOMEM;

        if (has_room(g) && source_has_room(g, s)) {
                (void) TAKE_FD(fd);
                enter(g, s, connection);
                return 0;
        }

        held = malloc(sizeof(*held));
        if (!held) {
                forget_source(g, s);
                return -ENOMEM;
        }
        *held = (Held) { .connection = *connection };
        (void) TAKE_FD(fd);
        STAILQ_INSERT_TAIL(&s->held, held, next);
        g->n_held++;
        return 0;
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

static Held *take_held(Gate *g, GateSource *s) {
        Held *held = STAILQ_FIRST(&s->held);

        if (held) {
                STAILQ_REMOVE_HEAD(&s->held, next);
                g->n_held--;
        }
        return held;
}

void gate_exit(Gate *g, GateSource *s) {
        Held *held;

        assert(s->n_entered > 0 && g->n_entered > 0);

        s->n_entered--;
        g->n_entered--;

        /* Those held of other addresses wait for a connection of their own address to end. */
        held = has_room(g) && source_has_room(g, s) ? take_held(g, s) : NULL;
        if (held) {
                enter(g, s, &held->connection);
                free(held);
        }

        forget_source(g, s);
}

bool gate_is_full(const Gate *g) {
        return !has_room(g);
}

unsigned gate_get_max(const Gate *g) {
        return g->max;
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
                while ((held = take_held(g, s))) {
                        (void) close_fd(held->connection.fd);
                        free(held);
                }
                forget_source(g, s);
        }
        g->held_max = 0;
}

Gate *gate_free(Gate *g) {
        if (!g)
                return NULL;

        gate_drop_held(g);
        free(g);
        return NULL;
}
