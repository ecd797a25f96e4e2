/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/parse.h"
#include "daemon/policy/options.h"
#include "daemon/store/fd-store.h"
#include "daemon/store/options-text.h"
#include "daemon/store/spool.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"

/* The names in the fd store. They are short because the next process gets all of them in one environment
 * variable of at most 128 KiB. */
#define TABLE_NAME "table"
#define LISTENERS_PREFIX 'l'
#define CONNECTIONS_PREFIX 'c'
#define NAME_MAX_LENGTH 24

/* Each queue has two descriptors in the fd store: FileDescriptorStoreMax= of the unit. */
#define LISTENERS_QUEUES 256
#define CONNECTIONS_QUEUES 256

/* Few, as closing a listener moves the others of its queue; not 1, so that few listeners need few queues. */
#define LISTENERS_PER_QUEUE 4

struct Store {
        FdStore *fd_store;

        int table_fd;
        bool table_is_new; /* not in the fd store yet, as no listener is saved */
        StateTable *table;
        Spool *listeners;
        Spool *connections;
        bool sealed;

        uint32_t n_slots; /* used at any time */
        uint32_t *free_slots;
        uint32_t n_free_slots;
        uint32_t free_slots_size;
};

DEFINE_CLEANUP(Store, store_free)

static int on_queue(Store *s, char prefix, unsigned number, const int ends[static 2]) {
        char name[NAME_MAX_LENGTH];

        (void) snprintf(name, sizeof(name), "%c%u", prefix, number);
        return fd_store_add(s->fd_store, name, ends, 2);
}

static int on_listeners_queue(unsigned number, const int ends[static 2], void *userdata) {
        return on_queue(userdata, LISTENERS_PREFIX, number, ends);
}

static int on_connections_queue(unsigned number, const int ends[static 2], void *userdata) {
        return on_queue(userdata, CONNECTIONS_PREFIX, number, ends);
}

/* ---------------------------------------------------------------------- loading */

/* The two ends of a queue have the same name in the fd store. */
typedef struct SavedQueue {
        int ends[2];
        size_t n;
} SavedQueue;

typedef struct Saved {
        Store *store;
        int table;
        SavedQueue listeners[LISTENERS_QUEUES];
        SavedQueue connections[CONNECTIONS_QUEUES];
} Saved;

static SavedQueue *saved_find_queue(Saved *saved, const char *name) {
        uint32_t number;

        if (name[0] == LISTENERS_PREFIX && parse_uint32(name + 1, 0, LISTENERS_QUEUES - 1, &number) >= 0)
                return saved->listeners + number;
        if (name[0] == CONNECTIONS_PREFIX && parse_uint32(name + 1, 0, CONNECTIONS_QUEUES - 1, &number) >= 0)
                return saved->connections + number;

        return NULL;
}

static void on_saved(const char *name, int fd, void *userdata) {
        Saved *saved = userdata;
        SavedQueue *queue;

        assert(saved);
        queue = saved_find_queue(saved, name);
        if (queue && queue->n < 2)
                queue->ends[queue->n++] = fd;
        else if (!queue && streq(name, TABLE_NAME) && saved->table < 0)
                saved->table = fd;
        else {
                (void) close_fd(fd);
                if (!queue)
                        fd_store_remove(saved->store->fd_store, name);
        }
}

static void saved_close_queues(Saved *saved, SavedQueue *queues, size_t n, char prefix) {
        char name[NAME_MAX_LENGTH];

        for (size_t i = 0; i < n; i++) {
                if (queues[i].n == 0)
                        continue;
                for (size_t end = 0; end < queues[i].n; end++)
                        (void) close_fd(queues[i].ends[end]);
                (void) snprintf(name, sizeof(name), "%c%zu", prefix, i);
                fd_store_remove(saved->store->fd_store, name);
                queues[i].n = 0;
        }
}

static void saved_close(Saved *saved) {
        if (saved->table >= 0)
                fd_store_remove(saved->store->fd_store, TABLE_NAME);
        saved->table = close_fd(saved->table);
        saved_close_queues(saved, saved->listeners, LISTENERS_QUEUES, LISTENERS_PREFIX);
        saved_close_queues(saved, saved->connections, CONNECTIONS_QUEUES, CONNECTIONS_PREFIX);
}

static void saved_adopt(Saved *saved, SavedQueue *queues, size_t n, Spool *spool) {
        for (size_t i = 0; i < n; i++) {
                if (queues[i].n != 2)
                        continue;
                if (spool_adopt(spool, (unsigned) i, queues[i].ends) >= 0)
                        queues[i].n = 0;
                else {
                        /* spool_adopt() has closed them. saved_close() removes the name. */
                        queues[i].ends[0] = queues[i].ends[1] = -EBADF;
                }
        }
}

static int store_map(Store *s, int fd) {
        void *table;

        table = mmap(NULL, sizeof(StateTable), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (table == MAP_FAILED)
                return -errno;

        s->table = table;
        s->table_fd = fd;
        return 0;
}

/* Consumes fd on success. */
static int store_map_saved(Store *s, int fd) {
        struct stat st;
        int seals, r;

        /* Access beyond the end of a table that is too short would raise SIGBUS. */
        if (fstat(fd, &st) < 0)
                return -errno;
        seals = fcntl(fd, F_GET_SEALS);
        if (!S_ISREG(st.st_mode) || st.st_size < (off_t) sizeof(StateTable) || seals < 0 ||
            !(seals & F_SEAL_SHRINK))
                return -EBADMSG;

        r = store_map(s, fd);
        if (r < 0)
                return r;

        r = state_check_header(&s->table->header);
        if (r < 0) {
                (void) munmap(s->table, sizeof(StateTable));
                s->table = NULL;
                s->table_fd = -EBADF;
                return r;
        }

        s->table->header.bus_id[sizeof(s->table->header.bus_id) - 1] = '\0';
        return 0;
}

static int store_create_table(Store *s) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_create("listeners", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, sizeof(StateTable)) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
                return -errno;

        r = store_map(s, fd);
        if (r < 0)
                return r;
        TAKE_FD(fd);

        state_init_header(&s->table->header);
        s->table_is_new = true;
        return 0;
}

static int store_load(Store *s) {
        _cleanup_free_ Saved *saved = NULL;
        int r;

        saved = calloc(1, sizeof(*saved));
        if (!saved)
                return -ENOMEM;
        saved->store = s;
        saved->table = -EBADF;

        r = fd_store_read(on_saved, saved);
        if (r < 0)
                return r;

        if (saved->table >= 0) {
                r = store_map_saved(s, saved->table);
                if (r >= 0) {
                        saved->table = -EBADF;
                        saved_adopt(saved, saved->listeners, LISTENERS_QUEUES, s->listeners);
                        saved_adopt(saved, saved->connections, CONNECTIONS_QUEUES, s->connections);
                } else
                        log_error("Closing all listeners, failed to read their saved state: %s",
                                  r == -EPROTONOSUPPORT ? "it has the format of another version"
                                                        : strerror(-r));
        }

        saved_close(saved);
        return s->table ? 0 : store_create_table(s);
}

int store_new(sd_event *event, Store **ret) {
        _cleanup_(store_freep) Store *s = NULL;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;

        s->table_fd = -EBADF;

        r = fd_store_new(event, &s->fd_store);
        if (r < 0)
                return r;

        r = spool_new(LISTENERS_QUEUES, on_listeners_queue, s, &s->listeners);
        if (r >= 0)
                r = spool_new(CONNECTIONS_QUEUES, on_connections_queue, s, &s->connections);
        if (r >= 0)
                r = store_load(s);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(s);
        return 0;
}

void store_seal(Store *s) {
        s->sealed = true;
        spool_seal(s->listeners);
        spool_seal(s->connections);

        fd_store_flush(s->fd_store);
}

Store *store_free(Store *s) {
        if (!s)
                return NULL;

        s->listeners = spool_free(s->listeners);
        s->connections = spool_free(s->connections);
        if (s->table)
                (void) munmap(s->table, sizeof(StateTable));
        (void) close_fd(s->table_fd);
        s->fd_store = fd_store_free(s->fd_store);
        free(s->free_slots);
        free(s);
        return NULL;
}

const char *store_get_bus(const Store *s) {
        return s->table->header.bus_id;
}

void store_set_bus(Store *s, const char *id) {
        (void) snprintf(s->table->header.bus_id, sizeof(s->table->header.bus_id), "%s", id);
}

uint64_t store_get_last_id(const Store *s) {
        return s->table->header.last_id;
}

void store_set_last_id(Store *s, uint64_t id) {
        s->table->header.last_id = id;
}

/* ---------------------------------------------------------------------- saving */

/* The number of a slot selects the queue. Unlike ids, the numbers of few listeners are low, which needs few
 * queues. */
static uint32_t store_get_number(const Store *s, const StateSlot *slot) {
        return (uint32_t) (slot - s->table->slots);
}

static int store_take_slot(Store *s, uint32_t *ret) {
        if (s->n_free_slots > 0)
                *ret = s->free_slots[--s->n_free_slots];
        else if (s->n_slots < STATE_SLOTS_MAX)
                *ret = s->n_slots++;
        else
                return -ENOSPC;

        return 0;
}

/* Without memory, the slot is never used again. */
static void store_return_slot(Store *s, uint32_t slot) {
        uint32_t *slots, size;

        if (s->n_free_slots == s->free_slots_size) {
                size = s->free_slots_size > 0 ? s->free_slots_size * 2 : 64;
                slots = realloc(s->free_slots, size * sizeof(*slots));
                if (!slots)
                        return;
                s->free_slots = slots;
                s->free_slots_size = size;
        }

        s->free_slots[s->n_free_slots++] = slot;
}

static int store_put_listener(Store *s,
                              uint64_t id,
                              uid_t uid,
                              uint32_t pid,
                              uint32_t slot,
                              int fd,
                              const ListenOptions *options,
                              SpoolEntry **ret) {
        _cleanup_free_ char *text = NULL;
        _cleanup_free_ StatePacket *packet = NULL;
        size_t length, size;
        int r;

        r = options_text_write(options, &text, &length);
        if (r < 0)
                return r;

        size = STATE_PACKET_SIZE(listener) + length;
        packet = calloc(1, size > sizeof(*packet) ? size : sizeof(*packet));
        if (!packet)
                return -ENOMEM;

        packet->type = STATE_LISTENER;
        packet->size = (uint32_t) size;
        packet->id = id;
        packet->listener.slot = slot;
        packet->listener.uid = uid;
        packet->listener.pid = pid;
        memcpy((char *) packet + STATE_PACKET_SIZE(listener), text, length);

        return spool_put(s->listeners, slot / LISTENERS_PER_QUEUE, &fd, 1, packet, size, ret);
}

int store_save_listener(Store *s,
                        uint64_t id,
                        uid_t uid,
                        uint32_t pid,
                        int fd,
                        const ListenOptions *options,
                        StateSlot **ret_slot,
                        SpoolEntry **ret) {
        uint32_t slot;
        int r;

        assert(id > 0 && fd >= 0);

        if (s->table_is_new) {
                r = fd_store_add(s->fd_store, TABLE_NAME, &s->table_fd, 1);
                if (r < 0)
                        return r;
                s->table_is_new = false;
        }

        r = store_take_slot(s, &slot);
        if (r < 0)
                return r;

        s->table->slots[slot] = (StateSlot) { .flags = STATE_UNANNOUNCED };
        s->table->slots[slot].id = id;

        r = store_put_listener(s, id, uid, pid, slot, fd, options, ret);
        if (r < 0) {
                s->table->slots[slot].id = 0;
                store_return_slot(s, slot);
                return r;
        }

        *ret_slot = s->table->slots + slot;
        return 0;
}

void store_drop_listener(Store *s, StateSlot *slot, SpoolEntry *entry) {
        if (s->sealed)
                return;

        assert(slot->id > 0);

        slot->id = 0;
        (void) spool_drop(entry);
        store_return_slot(s, store_get_number(s, slot));
}

int store_save_channel(Store *s, const StateSlot *slot, int fd, SpoolEntry **ret) {
        StatePacket packet = {
                .type = STATE_CHANNEL,
                .size = STATE_PACKET_SIZE(channel),
                .id = slot->id,
        };

        return spool_put(s->listeners, store_get_number(s, slot) / LISTENERS_PER_QUEUE, &fd, 1, &packet,
                         packet.size, ret);
}

int store_save_lifeline(Store *s, const StateSlot *slot, int fd, SpoolEntry **ret) {
        StatePacket packet = {
                .type = STATE_LIFELINE,
                .size = offsetof(StatePacket, listener),
                .id = slot->id,
        };

        return spool_put(s->listeners, store_get_number(s, slot) / LISTENERS_PER_QUEUE, &fd, 1, &packet,
                         packet.size, ret);
}

void store_prepare_connections(Store *s, const StateSlot *slot) {
        /* On failure, the first connection tries again. */
        (void) spool_prepare(s->connections, store_get_number(s, slot));
}

int store_save_connection(Store *s,
                          const StateSlot *slot,
                          uint64_t serial,
                          int fd,
                          const Address *peer,
                          SpoolEntry **ret) {
        StatePacket packet;

        assert(serial > 0 && fd >= 0);

        state_init_connection(&packet, slot->id, serial, peer);
        return spool_put(s->connections, store_get_number(s, slot), &fd, 1, &packet, packet.size, ret);
}

void store_hold(Store *s) {
        if (s)
                spool_hold(s->connections);
}

void store_release(Store *s) {
        if (s)
                spool_release(s->connections);
}

/* Makes all slots free but those of the listeners that were found. */
static int store_find_free_slots(Store *s, const StoreFound *found, size_t n) {
        _cleanup_free_ bool *is_used = NULL;
        uint32_t slot;

        for (size_t i = 0; i < n && found[i].type == STATE_LISTENER; i++) {
                slot = store_get_number(s, found[i].slot);
                if (slot >= s->n_slots)
                        s->n_slots = slot + 1;
        }

        is_used = calloc((size_t) s->n_slots + 1, sizeof(*is_used));
        if (!is_used)
                return -ENOMEM;

        for (size_t i = 0; i < n && found[i].type == STATE_LISTENER; i++)
                is_used[store_get_number(s, found[i].slot)] = true;
        for (slot = s->n_slots; slot > 0; slot--)
                if (!is_used[slot - 1]) {
                        s->table->slots[slot - 1].id = 0;
                        store_return_slot(s, slot - 1);
                }

        return 0;
}

int store_read(Store *s, StoreFound **ret, size_t *ret_n) {
        StoreFound *found;
        size_t n;
        int r;

        r = store_found_read(s->table, s->listeners, s->connections, &found, &n);
        if (r < 0)
                return r;

        r = store_find_free_slots(s, found, n);
        if (r < 0) {
                store_seal(s);
                store_found_free(found, n);
                return r;
        }

        *ret = found;
        *ret_n = n;
        return 0;
}
