/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The state that a restarted service reads: a table and queues with any content, from the fd store of a
 * systemd that the fuzzer plays. State that one process has restored and kept must be the same for the next
 * process; dropped state must be gone; and no descriptor may leak. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "base/macros.h"
#include "daemon/policy/options.h"
#include "daemon/store/options-text.h"
#include "daemon/store/state.h"
#include "daemon/store/store-found.h"
#include "daemon/store/store.h"
#include "fuzz/fd-keeper.h"
#include "fuzz/input.h"
#include "fuzz/message.h"

#define QUEUES_MAX 6
#define FOUND_MAX 64
#define TEXT_MAX 6144 /* more than the text of a listener with all options */

typedef struct Queue {
        char name[16];
        int in, out;
} Queue;

typedef struct World {
        Queue queues[QUEUES_MAX];
        size_t n_queues;
        int table_fd;
        StateTable *table;
        bool is_odd; /* content that no service writes: the processes may restore different state */
        unsigned n_given;
} World;

/* The part of StoreFound that must be the same for the next process. */
typedef struct Summary {
        StateSlot state;
        StatePacketType type;
        uint64_t id, serial;
        Address peer;
        uid_t uid;
        uint32_t pid;
} Summary;

static int descriptor;

/* The spool needs it. qemu's emulation of single programs does not have it. */
static void require_peek_offset(void) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), offset = 0;

        if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0)
                fuzz_skip("needs the socket option SO_PEEK_OFF");
        (void) close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        require_peek_offset();
        fuzz_init_network();
        keeper_init();
        fuzz_init_log();
        descriptor = eventfd(0, EFD_CLOEXEC);
        fuzz_assert(descriptor >= 0);
        keeper_init_done();
        return 0;
}

/* ---------------------------------------------------------------------- the state of the last process */

static void make_table(World *w) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        fuzz_assert(fd >= 0);
        fuzz_assert(ftruncate(fd, sizeof(StateTable)) == 0);
        w->table_fd = fcntl(fd, F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);
        (void) close(fd);
        w->table = mmap(NULL, sizeof(StateTable), PROT_READ | PROT_WRITE, MAP_SHARED, w->table_fd, 0);
        fuzz_assert(w->table != MAP_FAILED);
        state_init_header(&w->table->header);
}

static Queue *find_queue(World *w, char prefix, unsigned number) {
        char name[sizeof(w->queues[0].name)];
        int ends[2];
        Queue *queue;

        (void) snprintf(name, sizeof(name), "%c%u", prefix, number);
        for (size_t i = 0; i < w->n_queues; i++)
                if (streq(w->queues[i].name, name))
                        return w->queues + i;
        if (w->n_queues == QUEUES_MAX)
                return NULL;

        fuzz_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        queue = w->queues + w->n_queues++;
        (void) snprintf(queue->name, sizeof(queue->name), "%s", name);
        queue->in = fcntl(ends[0], F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);
        queue->out = fcntl(ends[1], F_DUPFD_CLOEXEC, KEEPER_FIRST_FD);
        (void) close(ends[0]);
        (void) close(ends[1]);
        return queue;
}

static void put(World *w, uint8_t where, unsigned n_fds, const void *data, size_t size) {
        Queue *queue = find_queue(w, where & 1 ? 'c' : 'l', where >> 1 & 3 ? where >> 1 & 3 : where);
        const int fds[] = { descriptor, descriptor, descriptor };

        if (!queue)
                return;

        /* This looks like the end of the queue. */
        if (size == 0 && n_fds == 0)
                w->is_odd = true;
        (void) message_send_bytes(queue->in, data, size, fds, n_fds);
}

static void put_listener(World *w, FuzzInput *input, bool all) {
        uint8_t where = fuzz_u8(input) & 0xfe, id = fuzz_u8(input), slot = fuzz_u8(input),
                n_fds = fuzz_u8(input);
        union {
                StatePacket packet;
                char bytes[STATE_PACKET_SIZE(listener) + TEXT_MAX];
        } data = {};
        const uint8_t *text;
        size_t length;

        text = all ? fuzz_rest(input, &length) : fuzz_bytes(input, &length);
        if (length > TEXT_MAX)
                length = TEXT_MAX;
        data.packet.type = STATE_LISTENER;
        data.packet.size = (uint32_t) (STATE_PACKET_SIZE(listener) + length);
        data.packet.id = id;
        data.packet.listener.slot = slot;
        data.packet.listener.uid = slot;
        data.packet.listener.pid = id;
        memcpy(data.bytes + STATE_PACKET_SIZE(listener), text, length);
        if (n_fds & 4)
                w->table->slots[slot].id = id;
        put(w, where, n_fds & 3, &data, data.packet.size);
}

static void put_other(World *w, FuzzInput *input) {
        uint8_t where = fuzz_u8(input), id = fuzz_u8(input), n_fds = fuzz_u8(input);
        StatePacket packet = { .id = id };

        if (n_fds & 8) {
                packet.type = STATE_LIFELINE;
                packet.size = offsetof(StatePacket, listener);
        } else if (n_fds & 4) {
                packet.type = STATE_CHANNEL;
                packet.size = STATE_PACKET_SIZE(channel);
                packet.channel.reserved = fuzz_u16(input);
        } else {
                packet.type = STATE_CONNECTION;
                packet.size = STATE_PACKET_SIZE(connection);
                packet.connection.serial = fuzz_u8(input);
                packet.connection.family = fuzz_u8(input);
                packet.connection.port = fuzz_u16(input);
                packet.connection.bytes[0] = fuzz_u8(input);
        }
        put(w, where, n_fds & 3, &packet, packet.size);
}

static void write_bytes(FuzzInput *input, void *memory, size_t size) {
        size_t offset = fuzz_u8(input) % size, n;
        const uint8_t *bytes;

        bytes = fuzz_bytes(input, &n);
        memcpy((char *) memory + offset, bytes, n < size - offset ? n : size - offset);
}

/* A descriptor that no service has stored, or under a wrong name. */
static void keep_odd(World *w, FuzzInput *input) {
        uint8_t kind = fuzz_u8(input);
        const char *names[] = { "table", "l0", "l1", "c1", "c255", "l256", "l", "x", "l-1", "stored" };
        int fds[2];

        w->is_odd = true;
        fuzz_assert(socketpair(AF_UNIX, kind & 16 ? SOCK_STREAM : SOCK_SEQPACKET, 0, fds) == 0);
        keeper_add(names[(kind & 15) % ELEMENTS(names)], kind & 32 ? descriptor : fds[0]);
        if (kind & 64)
                keeper_add(names[(kind & 15) % ELEMENTS(names)], fds[kind & 128 ? 1 : 0]);
        (void) close(fds[0]);
        (void) close(fds[1]);
}

static void make_world(World *w, FuzzInput *input) {
        bool is_sealed = true;
        const uint8_t *bytes;
        uint8_t where, n_fds;
        size_t n;

        make_table(w);
        while (!fuzz_is_over(input) && w->n_given++ < FOUND_MAX)
                switch (fuzz_u8(input) % 9) {
                case 0:
                        write_bytes(input, &w->table->header, sizeof(w->table->header));
                        break;
                case 1:
                        n = fuzz_u8(input);
                        write_bytes(input, w->table->slots + n, sizeof(StateSlot));
                        break;
                case 2:
                        n = fuzz_u8(input);
                        state_write_owner(w->table->slots + n, fuzz_string(input));
                        break;
                case 3:
                        put_listener(w, input, false);
                        break;
                case 4:
                        put_listener(w, input, true);
                        break;
                case 5:
                        put_other(w, input);
                        break;
                case 6:
                        where = fuzz_u8(input);
                        n_fds = fuzz_u8(input);
                        bytes = fuzz_bytes(input, &n);
                        put(w, where, n_fds & 3, bytes, n);
                        break;
                case 7:
                        keep_odd(w, input);
                        break;
                case 8:
                        n = fuzz_u8(input);
                        is_sealed = n & 1;
                        if (n & 2)
                                fuzz_assert(ftruncate(w->table_fd, (off_t) sizeof(StateHeader)) == 0);
                        w->is_odd = true;
                        if (n & 2)
                                goto done; /* access to the table would raise SIGBUS */
                        break;
                }

done:
        if (is_sealed)
                (void) fcntl(w->table_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
        keeper_add("table", w->table_fd);
        for (size_t i = 0; i < w->n_queues; i++) {
                bool swapped = (w->n_given + i) % 2 == 1;

                keeper_add(w->queues[i].name, swapped ? w->queues[i].out : w->queues[i].in);
                keeper_add(w->queues[i].name, swapped ? w->queues[i].in : w->queues[i].out);
                (void) close(w->queues[i].in);
                (void) close(w->queues[i].out);
        }
        (void) munmap(w->table, sizeof(StateTable));
        (void) close(w->table_fd);
}

/* ---------------------------------------------------------------------- the processes that read it */

static void check_options(const ListenOptions *o) {
        char *text = NULL, *again = NULL;
        ListenOptions *copy = NULL;
        size_t size, size_again;

        fuzz_assert(options_text_write(o, &text, &size) == 0);
        fuzz_assert(options_text_read(text, size, &copy) == 0);
        fuzz_assert(options_text_write(copy, &again, &size_again) == 0);
        fuzz_assert(size == size_again && memcmp(text, again, size) == 0);
        fuzz_assert(o->n_allow_from == copy->n_allow_from);
        fuzz_assert(o->channel_batch == copy->channel_batch && o->accept_rate == copy->accept_rate &&
                    o->persistent == copy->persistent && o->acknowledge == copy->acknowledge &&
                    o->non_blocking == copy->non_blocking);
        fuzz_assert(!listen_options_free(copy));
        free(again);
        free(text);
}

static void check_found(const StoreFound *f) {
        fuzz_assert(f->id > 0 && f->entry && f->fd >= 0);
        switch (f->type) {
        case STATE_LISTENER:
                fuzz_assert(f->options && f->slot && f->state.id == f->id);
                fuzz_assert(f->state.owner[0] == ':' || f->state.owner[0] == '\0');
                fuzz_assert(memchr(f->state.owner, '\0', sizeof(f->state.owner)));
                check_options(f->options);
                break;

        case STATE_CHANNEL:
                break;

        case STATE_LIFELINE:
                break;

        default:
                fuzz_assert(f->type == STATE_CONNECTION);
                fuzz_assert(f->serial > 0);
                fuzz_assert(f->peer.sa.sa_family == AF_INET || f->peer.sa.sa_family == AF_INET6);
                break;
        }
}

/* Returns the number of restored entries, or -1 if the store could not be read. */
static int run_process(bool keeps, Summary *summaries) {
        unsigned n_fds = fuzz_count_fds();
        StoreFound *found = NULL;
        sd_event *event = NULL;
        Store *store = NULL;
        size_t n = 0;

        keeper_start_process();
        fuzz_assert(sd_event_new(&event) >= 0);
        int r = store_new(event, &store);
        if (r >= 0) {
                r = store_read(store, &found, &n);
                fuzz_assert(memchr(store_get_bus(store), '\0', sizeof(((StateHeader *) 0)->bus_id)));
        }
        if (r >= 0) {
                fuzz_assert(n <= FOUND_MAX);
                for (size_t i = 0; i < n; i++) {
                        const StoreFound *f = found + i;

                        check_found(f);
                        fuzz_assert(i == 0 || f[-1].type < f->type ||
                                    (f[-1].type == f->type &&
                                     (f[-1].id < f->id || (f[-1].id == f->id && f[-1].serial < f->serial))));
                        memset(summaries + i, 0, sizeof(*summaries));
                        summaries[i].state = f->state;
                        summaries[i].type = f->type;
                        summaries[i].id = f->id;
                        summaries[i].serial = f->serial;
                        memcpy(&summaries[i].peer, &f->peer, sizeof(f->peer));
                        summaries[i].uid = f->uid;
                        summaries[i].pid = f->pid;
                }
                keeper_listen();
                if (keeps)
                        store_seal(store);
                store_found_free(found, n);
        }

        fuzz_assert(!store_free(store));
        sd_event_unref(event);
        keeper_listen();
        fuzz_assert(fuzz_count_fds() == n_fds);
        return r < 0 ? -1 : (int) n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static Summary first[FOUND_MAX], second[FOUND_MAX];
        FuzzInput input = { data, data + size };
        World world = {};

        make_world(&world, &input);

        int n = run_process(true, first);
        int m = run_process(false, second);
        if (!world.is_odd && !keeper_is_full()) {
                fuzz_assert(n >= 0 && n == m);
                fuzz_assert(memcmp(first, second, (size_t) n * sizeof(*first)) == 0);
                fuzz_assert(run_process(false, first) == 0);
        }

        keeper_forget();
        return 0;
}
