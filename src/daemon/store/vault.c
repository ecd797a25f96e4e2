/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <poll.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "daemon/store/packet.h"
#include "daemon/store/vault.h"

/* More than the buffer of any socket holds. */
#define LANE_ENTRIES_MAX 65536

typedef struct Lane Lane;

struct VaultEntry {
        Lane *lane;
        bool dropped; /* nobody wants it any more, and it could not be taken out yet */
        TAILQ_ENTRY(VaultEntry) link;
};

struct Lane {
        Vault *vault;
        int in, out;
        TAILQ_HEAD(, VaultEntry) entries; /* as they are in the kernel's queue */
        unsigned n_entries;
        unsigned n_dropped;
        bool is_waiting; /* to be cleaned */
        TAILQ_ENTRY(Lane) link;
};

struct Vault {
        unsigned lanes_max;
        bool sealed;
        bool held;
        VaultLaneCreated created;
        void *userdata;

        Lane **lanes;
        unsigned n_lanes; /* the numbers up to here have been used */
        TAILQ_HEAD(, Lane) waiting;
        char *buffer; /* VAULT_DATA_MAX, for what moves */
};

static void lane_append(Lane *lane, VaultEntry *entry) {
        entry->lane = lane;
        TAILQ_INSERT_TAIL(&lane->entries, entry, link);
        lane->n_entries++;
}

static void lane_remove(Lane *lane, VaultEntry *entry) {
        TAILQ_REMOVE(&lane->entries, entry, link);
        lane->n_entries--;
}

static Lane *lane_free(Lane *lane) {
        VaultEntry *entry;

        while ((entry = TAILQ_FIRST(&lane->entries))) {
                TAILQ_REMOVE(&lane->entries, entry, link);
                free(entry);
        }
        (void) close_fd(lane->in);
        (void) close_fd(lane->out);
        free(lane);
        return NULL;
}

DEFINE_CLEANUP(Vault, vault_free)

int vault_new(unsigned lanes_max, VaultLaneCreated created, void *userdata, Vault **ret) {
        _cleanup_(vault_freep) Vault *v = NULL;

        v = calloc(1, sizeof(*v));
        if (!v)
                return -ENOMEM;

        v->lanes_max = lanes_max;
        v->created = created;
        v->userdata = userdata;
        TAILQ_INIT(&v->waiting);

        v->lanes = calloc(lanes_max, sizeof(Lane *)); /* NOLINT(bugprone-sizeof-expression) */
        if (!v->lanes)
                return -ENOMEM;

        *ret = TAKE_PTR(v);
        return 0;
}

Vault *vault_free(Vault *v) {
        if (!v)
                return NULL;

        for (unsigned i = 0; i < v->n_lanes; i++)
                if (v->lanes[i])
                        (void) lane_free(v->lanes[i]);
        free(v->lanes);
        free(v->buffer);
        free(v);
        return NULL;
}

void vault_seal(Vault *v) {
        v->sealed = true;
}

/* Consumes the ends, also on failure. */
static int vault_add_lane(Vault *v, unsigned number, int in, int out, Lane **ret) {
        Lane *lane;

        lane = calloc(1, sizeof(*lane));
        if (!lane) {
                (void) close_fd(in);
                (void) close_fd(out);
                return -ENOMEM;
        }

        lane->vault = v;
        lane->in = in;
        lane->out = out;
        TAILQ_INIT(&lane->entries);

        v->lanes[number] = lane;
        if (number >= v->n_lanes)
                v->n_lanes = number + 1;

        *ret = lane;
        return 0;
}

static int vault_get_lane(Vault *v, unsigned number, Lane **ret) {
        int ends[2], r;

        if (v->lanes[number]) {
                *ret = v->lanes[number];
                return 0;
        }

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;

        r = vault_add_lane(v, number, ends[0], ends[1], ret);
        if (r < 0)
                return r;

        r = v->created(number, ends, v->userdata);
        if (r < 0)
                v->lanes[number] = lane_free(v->lanes[number]);

        return r;
}

/* A lane in the second half, the first of those that have the least. */
static unsigned vault_choose_other(const Vault *v) {
        unsigned best = v->lanes_max / 2;

        for (unsigned i = best; i < v->lanes_max; i++) {
                if (!v->lanes[i] || v->lanes[i]->n_entries == 0)
                        return i;
                if (v->lanes[i]->n_entries < v->lanes[best]->n_entries)
                        best = i;
        }

        return best;
}

/* Into this lane, or into any other that takes it. */
static int vault_send(Vault *v,
                      unsigned number,
                      const int *fds,
                      size_t n_fds,
                      const void *data,
                      size_t size,
                      Lane **ret) {
        Lane *lane = NULL;
        int r = -EAGAIN;
        Packet packet;

        packet_init(&packet, (void *) data, size);
        for (unsigned i = 0; r == -EAGAIN && i < v->lanes_max; i++) {
                r = vault_get_lane(v, (number + i) % v->lanes_max, &lane);
                if (r < 0)
                        return r;
                assert(lane);
                r = packet_send(&packet, lane->in, fds, n_fds);
        }
        if (r < 0 || !lane)
                return r == -EAGAIN ? -ENOSPC : r;

        *ret = lane;
        return 0;
}

static unsigned vault_choose(const Vault *v, uint64_t queue) {
        return (unsigned) (queue % (v->lanes_max / 2));
}

int vault_prepare(Vault *v, uint64_t queue) {
        Lane *lane;

        return vault_get_lane(v, vault_choose(v, queue), &lane);
}

int vault_put(Vault *v,
              uint64_t queue,
              const int *fds,
              size_t n_fds,
              const void *data,
              size_t size,
              VaultEntry **ret) {
        _cleanup_free_ VaultEntry *entry = NULL;
        Lane *lane;
        int r;

        if (n_fds == 0 || n_fds > PACKET_FDS_MAX || size == 0 || size > VAULT_DATA_MAX)
                return -EINVAL;

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return -ENOMEM;

        r = vault_send(v, vault_choose(v, queue), fds, n_fds, data, size, &lane);
        if (r < 0)
                return r;

        lane_append(lane, entry);
        *ret = TAKE_PTR(entry);
        return 0;
}

/* The first of a lane goes to where it is in nobody's way. Only then it leaves the front. */
static int lane_move_front(Lane *lane) {
        VaultEntry *entry = TAILQ_FIRST(&lane->entries);
        int fds[PACKET_FDS_MAX], r;
        Vault *v = lane->vault;
        size_t n_fds = 0;
        Lane *to;
        ssize_t n;

        if (!v->buffer)
                v->buffer = malloc(VAULT_DATA_MAX);
        if (!v->buffer)
                return -ENOMEM;

        n = packet_peek(lane->out, v->buffer, VAULT_DATA_MAX, fds, &n_fds);
        if (n <= 0)
                return n < 0 ? (int) n : -EBADMSG;

        r = vault_send(v, vault_choose_other(v), fds, n_fds, v->buffer, (size_t) n, &to);
        for (size_t i = 0; i < n_fds; i++)
                (void) close_fd(fds[i]);
        if (r >= 0)
                r = packet_discard(lane->out, 1);
        if (r < 0)
                return r;

        lane_remove(lane, entry);
        lane_append(to, entry);
        return 0;
}

/* How many at the front nobody wants any more. */
static unsigned lane_count_dropped(const Lane *lane) {
        VaultEntry *entry;
        unsigned n = 0;

        for (entry = TAILQ_FIRST(&lane->entries); entry && entry->dropped; entry = TAILQ_NEXT(entry, link))
                n++;

        return n;
}

/* What cannot be done now, for want of descriptors or memory, is done when the lane is used the next time. */
static void lane_clean(Lane *lane) {
        VaultEntry *entry;

        while (lane->n_dropped > 0) {
                int n = (int) lane_count_dropped(lane);

                if (n == 0) {
                        if (lane_move_front(lane) < 0)
                                return;
                        continue;
                }

                n = packet_discard(lane->out, (unsigned) n);
                if (n <= 0)
                        return;

                for (; n > 0; n--) {
                        entry = TAILQ_FIRST(&lane->entries);
                        lane->n_dropped--;
                        lane_remove(lane, entry);
                        free(entry);
                }
        }
}

VaultEntry *vault_drop(VaultEntry *entry) {
        Vault *v = entry ? entry->lane->vault : NULL;
        Lane *lane;

        if (!entry || v->sealed)
                return NULL;

        lane = entry->lane;
        entry->dropped = true;
        lane->n_dropped++;

        if (!v->held)
                lane_clean(lane);
        else if (!lane->is_waiting) {
                TAILQ_INSERT_TAIL(&v->waiting, lane, link);
                lane->is_waiting = true;
        }

        return NULL;
}

void vault_hold(Vault *v) {
        v->held = true;
}

void vault_release(Vault *v) {
        Lane *lane;

        v->held = false;
        while ((lane = TAILQ_FIRST(&v->waiting))) {
                TAILQ_REMOVE(&v->waiting, lane, link);
                lane->is_waiting = false;
                lane_clean(lane);
        }
}

static bool is_seqpacket(int fd) {
        int domain, type;
        socklen_t size = sizeof(int);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) >= 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) >= 0 && type == SOCK_SEQPACKET;
}

static bool has_input(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

int vault_adopt(Vault *v, unsigned number, const int ends[static 2]) {
        bool swapped;
        Lane *lane;

        if (number >= v->lanes_max || v->lanes[number] || !is_seqpacket(ends[0]) || !is_seqpacket(ends[1])) {
                (void) close_fd(ends[0]);
                (void) close_fd(ends[1]);
                return -EINVAL;
        }

        /* Either end could be either; what was sent shows it. */
        swapped = has_input(ends[0]);
        return vault_add_lane(v, number, ends[swapped ? 1 : 0], ends[swapped ? 0 : 1], &lane);
}

/* From an offset of 0 on, each peek shows the next packet; with -1, always the first one. */
static int lane_set_peek_offset(Lane *lane, int offset) {
        return setsockopt(lane->out, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 ? -errno : 0;
}

static int lane_read(Lane *lane, VaultReader reader, void *userdata) {
        Vault *v = lane->vault;
        VaultEntry *entry;

        while (lane->n_entries < LANE_ENTRIES_MAX) {
                int fds[PACKET_FDS_MAX];
                size_t n_fds = 0;
                ssize_t n;
                int r;

                n = packet_peek(lane->out, v->buffer, VAULT_DATA_MAX, fds, &n_fds);
                if (n == 0 || n == -EAGAIN)
                        return 0;
                if (n < 0 && n != -EBADMSG)
                        return (int) n;

                entry = calloc(1, sizeof(*entry));
                if (!entry) {
                        for (size_t i = 0; i < n_fds; i++)
                                (void) close_fd(fds[i]);
                        return -ENOMEM;
                }

                lane_append(lane, entry);
                r = n < 0 ? 0 : reader(entry, fds, n_fds, v->buffer, (size_t) n, userdata);
                for (size_t i = 0; i < n_fds; i++)
                        (void) close_fd(fds[i]);
                if (r < 0)
                        return r;
                if (r == 0) {
                        entry->dropped = true;
                        lane->n_dropped++;
                }
        }

        return -E2BIG;
}

int vault_read(Vault *v, VaultReader reader, void *userdata) {
        unsigned n = v->n_lanes;
        int r = 0;

        v->buffer = malloc(VAULT_DATA_MAX);
        if (!v->buffer)
                return -ENOMEM;

        for (unsigned i = 0; i < n && r >= 0; i++) {
                if (!v->lanes[i])
                        continue;

                /* A failure leaves an offset behind, from which the next vault_read() does not start. */
                r = lane_set_peek_offset(v->lanes[i], 0);
                if (r >= 0)
                        r = lane_read(v->lanes[i], reader, userdata);
                if (r >= 0)
                        r = lane_set_peek_offset(v->lanes[i], -1);
        }

        /* Not before all are known: what moves goes to the end of a lane, behind what is already there. */
        for (unsigned i = 0; i < n && r >= 0; i++)
                if (v->lanes[i])
                        lane_clean(v->lanes[i]);

        return r;
}
