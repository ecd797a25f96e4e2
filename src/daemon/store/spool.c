/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "base/socket.h"
#include "daemon/store/packet.h"
#include "daemon/store/spool.h"

/* More than fit into the buffer of a socket. Stops the reading of a queue that does not end. */
#define QUEUE_ENTRIES_MAX 65536

typedef struct Queue Queue;

struct SpoolEntry {
        Queue *queue;
        bool dropped; /* to be removed as soon as it is at the front */
        TAILQ_ENTRY(SpoolEntry) link;
};

struct Queue {
        Spool *spool;
        int in, out;
        TAILQ_HEAD(, SpoolEntry) entries; /* in the order of the packets in the kernel */
        unsigned n_entries;
        unsigned n_dropped;
        bool is_waiting; /* for spool_release() */
        TAILQ_ENTRY(Queue) link;
};

struct Spool {
        unsigned queues_max;
        bool sealed;
        bool held;
        SpoolQueueCreated created;
        void *userdata;

        Queue **queues;
        unsigned n_queues; /* highest number in use, plus 1 */
        TAILQ_HEAD(, Queue) waiting;
        char *buffer; /* SPOOL_DATA_MAX, for entries that move or are read */
};

static void queue_append(Queue *queue, SpoolEntry *entry) {
        entry->queue = queue;
        TAILQ_INSERT_TAIL(&queue->entries, entry, link);
        queue->n_entries++;
}

static void queue_remove(Queue *queue, SpoolEntry *entry) {
        TAILQ_REMOVE(&queue->entries, entry, link);
        queue->n_entries--;
}

static Queue *queue_free(Queue *queue) {
        SpoolEntry *entry;

        while ((entry = TAILQ_FIRST(&queue->entries))) {
                TAILQ_REMOVE(&queue->entries, entry, link);
                free(entry);
        }
        (void) close_fd(queue->in);
        (void) close_fd(queue->out);
        free(queue);
        return NULL;
}

DEFINE_CLEANUP(Spool, spool_free)

int spool_new(unsigned queues_max, SpoolQueueCreated created, void *userdata, Spool **ret) {
        _cleanup_(spool_freep) Spool *spool = NULL;

        assert(queues_max >= 2);

        spool = calloc(1, sizeof(*spool));
        if (!spool)
                return -ENOMEM;

        spool->queues_max = queues_max;
        spool->created = created;
        spool->userdata = userdata;
        TAILQ_INIT(&spool->waiting);

        spool->queues = calloc(queues_max, sizeof(Queue *)); /* NOLINT(bugprone-sizeof-expression) */
        if (!spool->queues)
                return -ENOMEM;

        *ret = TAKE_PTR(spool);
        return 0;
}

Spool *spool_free(Spool *spool) {
        if (!spool)
                return NULL;

        for (unsigned i = 0; i < spool->n_queues; i++)
                if (spool->queues[i])
                        (void) queue_free(spool->queues[i]);
        free(spool->queues);
        free(spool->buffer);
        free(spool);
        return NULL;
}

void spool_seal(Spool *spool) {
        spool->sealed = true;
}

/* Consumes the ends, also on failure. */
static int spool_add_queue(Spool *spool, unsigned number, int in, int out, Queue **ret) {
        Queue *queue;

        queue = calloc(1, sizeof(*queue));
        if (!queue) {
                (void) close_fd(in);
                (void) close_fd(out);
                return -ENOMEM;
        }

        queue->spool = spool;
        queue->in = in;
        queue->out = out;
        TAILQ_INIT(&queue->entries);

        spool->queues[number] = queue;
        if (number >= spool->n_queues)
                spool->n_queues = number + 1;

        *ret = queue;
        return 0;
}

static int spool_ensure_queue(Spool *spool, unsigned number, Queue **ret) {
        int ends[2], r;

        if (spool->queues[number]) {
                *ret = spool->queues[number];
                return 0;
        }

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;

        r = spool_add_queue(spool, number, ends[0], ends[1], ret);
        if (r < 0)
                return r;

        r = spool->created(number, ends, spool->userdata);
        if (r < 0)
                spool->queues[number] = queue_free(spool->queues[number]);

        return r;
}

/* A queue of the second half with the fewest entries. */
static unsigned spool_choose_other(const Spool *spool) {
        unsigned best = spool->queues_max / 2;

        for (unsigned i = best; i < spool->queues_max; i++) {
                if (!spool->queues[i] || spool->queues[i]->n_entries == 0)
                        return i;
                if (spool->queues[i]->n_entries < spool->queues[best]->n_entries)
                        best = i;
        }

        return best;
}

/* Sends a packet into this queue, or into the next one that is not full. */
static int spool_send(Spool *spool,
                      unsigned number,
                      const int *fds,
                      size_t n_fds,
                      const void *data,
                      size_t size,
                      Queue **ret) {
        Queue *queue = NULL;
        int r = -EAGAIN;
        Packet packet;

        packet_init(&packet, (void *) data, size);
        for (unsigned i = 0; r == -EAGAIN && i < spool->queues_max; i++) {
                r = spool_ensure_queue(spool, (number + i) % spool->queues_max, &queue);
                if (r < 0)
                        return r;
                assert(queue);
                r = packet_send(&packet, queue->in, fds, n_fds);
        }
        if (r < 0 || !queue)
                return r == -EAGAIN ? -ENOSPC : r;

        *ret = queue;
        return 0;
}

static unsigned spool_choose(const Spool *spool, uint64_t key) {
        return (unsigned) (key % (spool->queues_max / 2));
}

int spool_prepare(Spool *spool, uint64_t key) {
        Queue *queue;

        return spool_ensure_queue(spool, spool_choose(spool, key), &queue);
}

int spool_put(Spool *spool,
              uint64_t key,
              const int *fds,
              size_t n_fds,
              const void *data,
              size_t size,
              SpoolEntry **ret) {
        _cleanup_free_ SpoolEntry *entry = NULL;
        Queue *queue;
        int r;

        assert(n_fds > 0 && n_fds <= PACKET_FDS_MAX);
        assert(size > 0 && size <= SPOOL_DATA_MAX);

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return -ENOMEM;

        r = spool_send(spool, spool_choose(spool, key), fds, n_fds, data, size, &queue);
        if (r < 0)
                return r;

        queue_append(queue, entry);
        *ret = TAKE_PTR(entry);
        return 0;
}

/* Moves the entry at the front to another queue: first copies it, then removes the original. */
static int queue_move_front(Queue *queue) {
        SpoolEntry *entry = TAILQ_FIRST(&queue->entries);
        int fds[PACKET_FDS_MAX], r;
        Spool *spool = queue->spool;
        size_t n_fds = 0;
        Queue *to;
        ssize_t n;

        if (!spool->buffer)
                spool->buffer = malloc(SPOOL_DATA_MAX);
        if (!spool->buffer)
                return -ENOMEM;

        n = packet_peek(queue->out, spool->buffer, SPOOL_DATA_MAX, fds, &n_fds);
        if (n <= 0)
                return n < 0 ? (int) n : -EBADMSG;

        r = spool_send(spool, spool_choose_other(spool), fds, n_fds, spool->buffer, (size_t) n, &to);
        for (size_t i = 0; i < n_fds; i++)
                (void) close_fd(fds[i]);
        if (r >= 0)
                r = packet_discard(queue->out, 1);
        if (r < 0)
                return r;

        queue_remove(queue, entry);
        queue_append(to, entry);
        return 0;
}

/* The number of dropped entries at the front. */
static unsigned queue_count_dropped(const Queue *queue) {
        SpoolEntry *entry;
        unsigned n = 0;

        for (entry = TAILQ_FIRST(&queue->entries); entry && entry->dropped; entry = TAILQ_NEXT(entry, link))
                n++;

        return n;
}

/* Removes the dropped entries. Those that cannot be removed for want of descriptors or memory are removed
 * when an entry of this queue is dropped the next time. */
static void queue_clean(Queue *queue) {
        SpoolEntry *entry;

        while (queue->n_dropped > 0) {
                int n = (int) queue_count_dropped(queue);

                if (n == 0) {
                        if (queue_move_front(queue) < 0)
                                return;
                        continue;
                }

                n = packet_discard(queue->out, (unsigned) n);
                if (n <= 0)
                        return;

                for (; n > 0; n--) {
                        entry = TAILQ_FIRST(&queue->entries);
                        queue->n_dropped--;
                        queue_remove(queue, entry);
                        free(entry);
                }
        }
}

SpoolEntry *spool_drop(SpoolEntry *entry) {
        Spool *spool = entry ? entry->queue->spool : NULL;
        Queue *queue;

        if (!entry || spool->sealed)
                return NULL;

        queue = entry->queue;
        entry->dropped = true;
        queue->n_dropped++;

        if (!spool->held)
                queue_clean(queue);
        else if (!queue->is_waiting) {
                TAILQ_INSERT_TAIL(&spool->waiting, queue, link);
                queue->is_waiting = true;
        }

        return NULL;
}

void spool_hold(Spool *spool) {
        spool->held = true;
}

void spool_release(Spool *spool) {
        Queue *queue;

        spool->held = false;
        while ((queue = TAILQ_FIRST(&spool->waiting))) {
                TAILQ_REMOVE(&spool->waiting, queue, link);
                queue->is_waiting = false;
                queue_clean(queue);
        }
}

static bool is_seqpacket(int fd) {
        int domain, type;
        socklen_t size = sizeof(int);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) >= 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) >= 0 && type == SOCK_SEQPACKET;
}

int spool_adopt(Spool *spool, unsigned number, const int ends[static 2]) {
        bool swapped;
        Queue *queue;

        if (number >= spool->queues_max || spool->queues[number] || !is_seqpacket(ends[0]) ||
            !is_seqpacket(ends[1])) {
                (void) close_fd(ends[0]);
                (void) close_fd(ends[1]);
                return -EINVAL;
        }

        /* The fd store does not preserve the order of the ends. The packets are in the end for reading. */
        swapped = socket_has_input(ends[0]);
        return spool_add_queue(spool, number, ends[swapped ? 1 : 0], ends[swapped ? 0 : 1], &queue);
}

/* With an offset of 0, each peek shows the next packet; with -1, always the first one. */
static int queue_set_peek_offset(Queue *queue, int offset) {
        return setsockopt(queue->out, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0 ? -errno : 0;
}

static int queue_read(Queue *queue, SpoolReader reader, void *userdata) {
        Spool *spool = queue->spool;
        SpoolEntry *entry;

        while (queue->n_entries < QUEUE_ENTRIES_MAX) {
                int fds[PACKET_FDS_MAX];
                size_t n_fds = 0;
                ssize_t n;
                int r;

                n = packet_peek(queue->out, spool->buffer, SPOOL_DATA_MAX, fds, &n_fds);
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

                queue_append(queue, entry);
                r = n < 0 ? 0 : reader(entry, fds, n_fds, spool->buffer, (size_t) n, userdata);
                for (size_t i = 0; i < n_fds; i++)
                        (void) close_fd(fds[i]);
                if (r < 0)
                        return r;
                if (r == 0) {
                        entry->dropped = true;
                        queue->n_dropped++;
                }
        }

        return -E2BIG;
}

int spool_read(Spool *spool, SpoolReader reader, void *userdata) {
        unsigned n = spool->n_queues;
        int r = 0;

        spool->buffer = malloc(SPOOL_DATA_MAX);
        if (!spool->buffer)
                return -ENOMEM;

        for (unsigned i = 0; i < n && r >= 0; i++) {
                if (!spool->queues[i])
                        continue;

                /* After a failure the socket keeps its offset, so this does not rely on the initial one. */
                r = queue_set_peek_offset(spool->queues[i], 0);
                if (r >= 0)
                        r = queue_read(spool->queues[i], reader, userdata);
                if (r >= 0)
                        r = queue_set_peek_offset(spool->queues[i], -1);
        }

        /* After all queues were read: entries that move are added to the end of a queue. */
        for (unsigned i = 0; i < n && r >= 0; i++)
                if (spool->queues[i])
                        queue_clean(spool->queues[i]);

        return r;
}
