/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/descriptors.h"
#include "base/log.h"
#include "base/macros.h"
#include "daemon/policy/options.h"
#include "daemon/store/options-text.h"
#include "daemon/store/spool.h"
#include "daemon/store/store-found.h"

typedef struct Reading {
        StateTable *table;
        StoreFound *found;
        size_t n, size;
} Reading;

static int reading_add(Reading *reading, StoreFound **ret) {
        StoreFound *found;
        size_t size;

        if (reading->n == reading->size) {
                size = reading->size > 0 ? reading->size * 2 : 64;
                found = realloc(reading->found, size * sizeof(*found));
                if (!found)
                        return -ENOMEM;
                reading->found = found;
                reading->size = size;
        }

        *ret = reading->found + reading->n++;
        return 0;
}

/* Returns 1 if the listener can be restored, 0 if it is to be closed, or a negative errno of a shortage. */
static int read_listener(StateTable *table, const StatePacket *packet, StoreFound *found) {
        StateSlot *slot = table->slots + packet->listener.slot;
        const char *text;
        size_t length;
        int r;

        r = state_read_slot(slot, packet->id, &found->state);
        if (r == -ENOENT)
                return false; /* the last process died while it closed the listener */

        text = state_get_text(packet, &length);
        if (r >= 0)
                r = options_text_read(text, length, &found->options);
        if (errno_is_transient(r))
                return r;
        if (r < 0) {
                log_error("Closing a listener of user %u, failed to read its saved state: %s",
                          (unsigned) packet->listener.uid, strerror(-r));
                return false;
        }

        found->uid = packet->listener.uid;
        found->pid = packet->listener.pid;
        found->slot = slot;
        return true;
}

static int on_packet(SpoolEntry *entry,
                     int *fds,
                     size_t n_fds,
                     const void *data,
                     size_t size,
                     void *userdata) {
        const StatePacket *packet = data;
        Reading *reading = userdata;
        StoreFound found = {};
        StoreFound *added;
        int r;

        if (state_check_packet(data, size) < 0 || n_fds != 1) {
                log_error("Discarding an invalid entry of the fd store");
                return false;
        }

        found.type = packet->type;
        found.id = packet->id;
        found.entry = entry;

        if (found.type == STATE_LISTENER) {
                r = read_listener(reading->table, packet, &found);
                if (r <= 0)
                        return r;
        }
        if (found.type == STATE_CONNECTION) {
                found.serial = packet->connection.serial;
                found.peer = state_get_peer(packet);
        }

        r = reading_add(reading, &added);
        if (r < 0) {
                (void) listen_options_free(found.options);
                return r;
        }

        found.fd = TAKE_FD(fds[0]);
        *added = found;
        return true;
}

static int compare_found(const void *a, const void *b) {
        const StoreFound *x = a, *y = b;

        if (x->type != y->type)
                return x->type < y->type ? -1 : 1;
        if (x->id != y->id)
                return x->id < y->id ? -1 : 1;
        if (x->serial != y->serial)
                return x->serial < y->serial ? -1 : 1;

        return 0;
}

static void found_done(StoreFound *found) {
        (void) spool_drop(found->entry);
        (void) close_fd(found->fd);
        (void) listen_options_free(found->options);
}

void store_found_free(StoreFound *found, size_t n) {
        for (size_t i = 0; i < n; i++)
                found_done(found + i);
        free(found);
}

/* The spool has an entry twice if the last process died while it moved the entry. */
static size_t remove_duplicates(StoreFound *found, size_t n) {
        size_t n_unique = 0;

        for (size_t i = 0; i < n; i++)
                if (n_unique > 0 && compare_found(found + n_unique - 1, found + i) == 0)
                        found_done(found + i);
                else
                        found[n_unique++] = found[i];

        return n_unique;
}

int store_found_read(StateTable *table,
                     Spool *listeners,
                     Spool *connections,
                     StoreFound **ret,
                     size_t *ret_n) {
        Reading reading = { .table = table };
        int r;

        r = spool_read(listeners, on_packet, &reading);
        if (r >= 0)
                r = spool_read(connections, on_packet, &reading);
        if (r < 0) {
                /* Leaves all entries in place for the next process. */
                spool_seal(listeners);
                spool_seal(connections);
                store_found_free(reading.found, reading.n);
                return r;
        }

        if (reading.n > 0)
                qsort(reading.found, reading.n, sizeof(*reading.found), compare_found);

        *ret = reading.found;
        *ret_n = remove_duplicates(reading.found, reading.n);
        return 0;
}
