/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/macros.h"
#include "daemon/store/spool.h"

#define QUEUES 8U

__typeof__(setsockopt) __real_setsockopt, __wrap_setsockopt;

/* How many calls succeed before one fails; -1: none fails. */
static int calls_until_failure = -1;

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
        if (calls_until_failure >= 0 && calls_until_failure-- == 0) {
                errno = ENOPROTOOPT;
                return -1;
        }
        return __real_setsockopt(fd, level, name, value, size);
}

static bool socket_has_peek_offset(int fd) {
        int offset = 0;

        return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) >= 0;
}

/* A packet is there no more when it has been received without a buffer. */
static bool socket_takes_out(int in, int out) {
        struct msghdr message = {};

        g_assert_no_errno(send(in, "x", 1, 0));
        (void) recvmsg(out, &message, MSG_DONTWAIT);
        return recv(out, NULL, 0, MSG_DONTWAIT) < 0;
}

/* When qemu emulates Linux for a single program, it has neither. */
static bool require_kernel(void) {
        const char *missing = NULL;
        int ends[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        if (!socket_takes_out(ends[0], ends[1]))
                missing = "needs recvmsg() without a buffer to take a packet out";
        else if (!socket_has_peek_offset(ends[1]))
                missing = "needs the socket option SO_PEEK_OFF";
        close(ends[0]);
        close(ends[1]);

        if (missing)
                g_test_skip(missing);
        return !missing;
}

/* Somebody who keeps the queues, as systemd does. */
typedef struct Keeper {
        int ends[QUEUES][2];
        unsigned n;
        int refuses; /* a negative errno */
} Keeper;

static int on_queue(unsigned number, const int ends[static 2], void *userdata) {
        Keeper *keeper = userdata;

        if (keeper->refuses < 0)
                return keeper->refuses;

        g_assert_cmpuint(number, <, QUEUES);
        g_assert_cmpint(keeper->ends[number][0], ==, -EBADF);
        for (size_t i = 0; i < 2; i++) {
                keeper->ends[number][i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
                g_assert_no_errno(keeper->ends[number][i]);
        }
        keeper->n++;
        return 0;
}

static Spool *spool_make(Keeper *keeper) {
        Spool *spool;

        g_assert_cmpint(spool_new(QUEUES, on_queue, keeper, &spool), ==, 0);
        return spool;
}

static void keeper_init(Keeper *keeper) {
        keeper->n = 0;
        keeper->refuses = 0;
        for (unsigned i = 0; i < QUEUES; i++)
                keeper->ends[i][0] = keeper->ends[i][1] = -EBADF;
}

static void keeper_done(Keeper *keeper) {
        for (unsigned i = 0; i < QUEUES; i++)
                for (size_t end = 0; end < 2; end++)
                        keeper->ends[i][end] = close_fd(keeper->ends[i][end]);
}

/* The next process: has copies of what is kept. Either end may come first. */
static Spool *spool_reopen(Keeper *keeper, bool swap) {
        Spool *spool = spool_make(keeper);

        for (unsigned i = 0; i < QUEUES; i++) {
                int ends[2];

                if (keeper->ends[i][0] < 0)
                        continue;
                for (size_t end = 0; end < 2; end++)
                        ends[end] = fcntl(keeper->ends[i][swap ? 1 - end : end], F_DUPFD_CLOEXEC, 3);
                g_assert_cmpint(spool_adopt(spool, i, ends), ==, 0);
        }
        return spool;
}

/* Something to put in: a pipe, whose other end hangs up when nobody has it any more. */
typedef struct Thing {
        int witness;
        SpoolEntry *entry;
} Thing;

static void thing_put(Thing *thing, Spool *spool, uint64_t key, uint32_t number) {
        int ends[2];

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        g_assert_cmpint(spool_put(spool, key, ends + 1, 1, &number, sizeof(number), &thing->entry), ==, 0);
        close(ends[1]);
        thing->witness = ends[0];
}

static bool thing_is_there(const Thing *thing) {
        struct pollfd p = { .fd = thing->witness };

        g_assert_no_errno(poll(&p, 1, 0));
        return !(p.revents & POLLHUP);
}

typedef struct Found {
        unsigned n;
        uint32_t numbers[4096];
        SpoolEntry *entries[4096];
        uint32_t drop; /* this one is not wanted */
        bool fail;     /* there it ends */
} Found;

static int on_found(SpoolEntry *entry,
                    int *fds,
                    size_t n_fds,
                    const void *data,
                    size_t size,
                    void *userdata) {
        Found *found = userdata;

        g_assert_cmpuint(found->n, <, ELEMENTS(found->numbers));
        g_assert_cmpuint(n_fds, ==, 1);
        g_assert_cmpuint(size, ==, sizeof(uint32_t));
        g_assert_cmpint(fcntl(fds[0], F_GETFD), ==, FD_CLOEXEC);
        memcpy(found->numbers + found->n, data, size);
        found->entries[found->n] = entry;
        if (found->numbers[found->n++] != found->drop)
                return true;
        return found->fail ? -ENOMEM : false;
}

static unsigned count_fds(void) {
        g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(directory))
                n++;
        return n;
}

static void test_outlives(void) {
        unsigned n_fds = count_fds();
        g_autofree Found *found = g_new0(Found, 1);
        Thing things[3];
        Keeper keeper;
        Spool *spool;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        for (uint32_t i = 0; i < ELEMENTS(things); i++)
                thing_put(things + i, spool, 0, i);
        g_assert_cmpuint(keeper.n, ==, 1);
        (void) spool_drop(things[1].entry);
        g_assert_false(thing_is_there(things + 1));
        spool = spool_free(spool);
        g_assert_true(thing_is_there(things + 0));
        g_assert_true(thing_is_there(things + 2));

        for (unsigned round = 0; round < 4; round++) {
                found->n = 0;
                found->drop = UINT32_MAX;
                spool = spool_reopen(&keeper, round % 2);
                g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
                g_assert_cmpuint(found->n, ==, 2);
                g_assert_cmpuint(found->numbers[0] + found->numbers[1], ==, 2);
                if (round == 3)
                        for (unsigned i = 0; i < 2; i++)
                                (void) spool_drop(found->entries[i]);
                spool = spool_free(spool);
        }
        for (unsigned i = 0; i < ELEMENTS(things); i++) {
                g_assert_false(thing_is_there(things + i));
                close(things[i].witness);
        }
        keeper_done(&keeper);
        g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* In any order, by all the ways through the queues, and always what was meant. */
static void test_any_order(void) {
        enum {
                N = 300
        };
        g_autoptr(GRand) random = g_rand_new_with_seed(4711);
        g_autofree Thing *things = g_new0(Thing, N);
        g_autofree Found *found = g_new0(Found, 1);
        unsigned n_fds = count_fds(), n_there = 0, n_found = 0;
        Keeper keeper;
        Spool *spool;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        for (uint32_t i = 0; i < N; i++)
                things[i].witness = -EBADF;

        for (unsigned step = 0; step < 20000; step++) {
                uint32_t i = (uint32_t) g_rand_int_range(random, 0, N);
                bool hold = g_rand_boolean(random);

                if (things[i].witness < 0) {
                        thing_put(things + i, spool, g_rand_int(random), i);
                        n_there++;
                        continue;
                }
                if (hold)
                        spool_hold(spool);
                for (unsigned n = 0; n < (hold ? 20U : 1U); n++, i = (i + 1) % N) {
                        if (things[i].witness < 0)
                                continue;
                        (void) spool_drop(things[i].entry);
                        g_assert_true(hold || !thing_is_there(things + i));
                        things[i].witness = close_fd(things[i].witness);
                        n_there--;
                }
                spool_release(spool);
        }
        for (uint32_t i = 0; i < N; i++)
                g_assert_true(things[i].witness < 0 || thing_is_there(things + i));

        spool_seal(spool);
        for (uint32_t i = 0; i < N; i += 7)
                if (things[i].witness >= 0)
                        (void) spool_drop(things[i].entry);
        spool = spool_free(spool);

        spool = spool_reopen(&keeper, false);
        found->drop = UINT32_MAX;
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, n_there);
        for (unsigned i = 0; i < found->n; i++) {
                Thing *thing = things + found->numbers[i];

                g_assert_cmpint(thing->witness, >=, 0);
                (void) spool_drop(found->entries[i]);
                g_assert_false(thing_is_there(thing));
                thing->witness = close_fd(thing->witness);
                n_found++;
        }
        g_assert_cmpuint(n_found, ==, n_there);
        spool = spool_free(spool);
        keeper_done(&keeper);
        g_assert_cmpuint(count_fds(), ==, n_fds);
}

/* All queues together have an end; what is too much is refused, and all that is in there is still there. */
static void test_is_full(void) {
        enum {
                N = 4096
        };
        g_autofree SpoolEntry **entries = g_new0(SpoolEntry *, N);
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        unsigned n = 0;
        Keeper keeper;
        Spool *spool;
        int r = 0;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        while (n < N && r == 0) {
                r = spool_put(spool, 0, &fd, 1, &n, sizeof(n), entries + n);
                if (r == 0)
                        n++;
        }
        g_assert_cmpint(r, ==, -ENOSPC);
        g_assert_cmpuint(n, >, 1000);
        g_assert_cmpuint(keeper.n, ==, QUEUES);

        /* Nowhere to move to. It is dropped as soon as there is room. */
        (void) spool_drop(entries[1]);
        for (unsigned i = 0; i < n; i++)
                if (i != 1)
                        (void) spool_drop(entries[i]);
        spool = spool_free(spool);

        g_autofree Found *found = g_new0(Found, 1);

        spool = spool_reopen(&keeper, false);
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, 0);
        spool = spool_free(spool);
        keeper_done(&keeper);
}

/* What is passed in a queue that is none of ours, whoever has put it there. */
static void test_strange_contents(void) {
        g_autofree Found *found = g_new0(Found, 1);
        _cleanup_free_ char *big = calloc(1, 2 * SPOOL_DATA_MAX);
        int ends[2], wrong[2];
        Keeper keeper;
        Thing thing;
        Spool *spool;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        g_assert_no_errno(send(ends[0], "no descriptor", 13, 0));
        g_assert_no_errno(send(ends[0], big, 2 * SPOOL_DATA_MAX, 0));
        for (size_t i = 0; i < 2; i++)
                keeper.ends[3][i] = ends[i];

        spool = spool_reopen(&keeper, true);
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, 0);
        thing_put(&thing, spool, 3, 7);
        spool = spool_free(spool);
        g_assert_true(thing_is_there(&thing));

        /* Not wanted. */
        spool = spool_reopen(&keeper, false);
        found->drop = 7;
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, 1);
        g_assert_false(thing_is_there(&thing));

        g_assert_no_errno(pipe2(wrong, O_CLOEXEC));
        g_assert_cmpint(spool_adopt(spool, 4, wrong), ==, -EINVAL);
        g_assert_cmpint(fcntl(wrong[0], F_GETFD), <, 0);
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wrong));
        g_assert_cmpint(spool_adopt(spool, QUEUES, wrong), ==, -EINVAL);
        spool = spool_free(spool);
        close(thing.witness);
        keeper_done(&keeper);
}

/* What is not wanted has something in front of it, which has to move to where there is already something. */
static void test_moves_while_reading(void) {
        g_autofree Found *found = g_new0(Found, 1);
        Thing things[5];
        Keeper keeper;
        Spool *spool;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        for (uint32_t i = 0; i < 2; i++)
                thing_put(things + i, spool, 0, i);
        (void) spool_drop(things[1].entry);
        g_assert_cmpint(keeper.ends[QUEUES / 2][0], >=, 0);
        for (uint32_t i = 2; i < ELEMENTS(things); i++)
                thing_put(things + i, spool, 0, i);
        spool = spool_free(spool);

        spool = spool_reopen(&keeper, false);
        found->drop = 4;
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, 4);
        g_assert_false(thing_is_there(things + 4));
        for (unsigned i = 0; i < found->n; i++) {
                uint32_t number = found->numbers[i];

                if (number == 4)
                        continue;
                g_assert_true(thing_is_there(things + number));
                (void) spool_drop(found->entries[i]);
                g_assert_false(thing_is_there(things + number));
        }
        spool = spool_free(spool);
        for (unsigned i = 0; i < ELEMENTS(things); i++)
                close(things[i].witness);
        keeper_done(&keeper);
}

/* What cannot be read for a moment is there the next time. */
static void test_fails_to_read(void) {
        g_autofree Found *found = g_new0(Found, 1);
        struct rlimit limit, none;
        Thing things[3];
        Keeper keeper;
        Spool *spool;
        int fd;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        for (uint32_t i = 0; i < ELEMENTS(things); i++)
                thing_put(things + i, spool, 0, i);
        spool = spool_free(spool);

        spool = spool_reopen(&keeper, false);
        found->drop = 1;
        found->fail = true;
        g_assert_cmpint(spool_read(spool, on_found, found), ==, -ENOMEM);
        spool = spool_free(spool);

        spool = spool_reopen(&keeper, false);
        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        none = limit;
        none.rlim_cur = 3;
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &none));
        fd = fcntl(2, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
                int r = spool_read(spool, on_found, found);

                /* valgrind lets some pass, and then it is the reader that fails. */
                g_assert_true(r == -EMFILE || r == -ENOMEM);
        }
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
        (void) close_fd(fd);
        spool = spool_free(spool);

        spool = spool_reopen(&keeper, false);
        found->drop = UINT32_MAX;
        found->n = 0;
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, ELEMENTS(things));
        spool = spool_free(spool);
        for (unsigned i = 0; i < ELEMENTS(things); i++) {
                g_assert_true(thing_is_there(things + i));
                close(things[i].witness);
        }
        keeper_done(&keeper);
}

/* Without the offset, each peek would show the first packet again. */
static void test_fails_to_set_the_offset(void) {
        g_autofree Found *found = g_new0(Found, 1);
        Thing things[3];
        Keeper keeper;
        Spool *spool;

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        for (uint32_t i = 0; i < ELEMENTS(things); i++)
                thing_put(things + i, spool, 0, i);
        spool = spool_free(spool);

        for (int i = 0; i < 2; i++) {
                spool = spool_reopen(&keeper, false);
                found->drop = UINT32_MAX;
                found->n = 0;
                calls_until_failure = i;
                g_assert_cmpint(spool_read(spool, on_found, found), ==, -ENOPROTOOPT);
                g_assert_cmpint(calls_until_failure, ==, -1);
                g_assert_cmpuint(found->n, ==, i == 0 ? 0 : ELEMENTS(things));
                spool = spool_free(spool);
        }

        spool = spool_reopen(&keeper, false);
        found->n = 0;
        g_assert_cmpint(spool_read(spool, on_found, found), ==, 0);
        g_assert_cmpuint(found->n, ==, ELEMENTS(things));
        spool = spool_free(spool);
        for (unsigned i = 0; i < ELEMENTS(things); i++)
                close(things[i].witness);
        keeper_done(&keeper);
}

/* Out of descriptors, what is in the way cannot move. */
static void test_out_of_descriptors(void) {
        struct rlimit limit, none;
        Thing things[3];
        Keeper keeper;
        bool is_enforced;
        Spool *spool;
        int ends[2];

        if (!require_kernel())
                return;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        for (uint32_t i = 0; i < ELEMENTS(things); i++)
                thing_put(things + i, spool, 0, i);

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        none = limit;
        none.rlim_cur = 3;
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &none));
        /* valgrind lets these pass. */
        is_enforced = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0;
        if (!is_enforced)
                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
        (void) spool_drop(things[1].entry);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
        g_assert_cmpint(thing_is_there(things + 1), ==, is_enforced);
        if (!is_enforced) {
                close(ends[0]);
                close(ends[1]);
        }

        (void) spool_drop(things[2].entry);
        g_assert_true(thing_is_there(things + 0));
        g_assert_false(thing_is_there(things + 1));
        g_assert_false(thing_is_there(things + 2));

        spool = spool_free(spool);
        for (unsigned i = 0; i < ELEMENTS(things); i++)
                close(things[i].witness);
        keeper_done(&keeper);
}

/* What would not outlive the process is not taken for kept. */
static void test_a_queue_that_nobody_keeps(void) {
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        SpoolEntry *entry = NULL;
        Keeper keeper;
        Spool *spool;

        keeper_init(&keeper);
        spool = spool_make(&keeper);
        keeper.refuses = -ENOMEM;
        g_assert_cmpint(spool_prepare(spool, 1), ==, -ENOMEM);
        g_assert_cmpint(spool_put(spool, 1, &fd, 1, "x", 1, &entry), ==, -ENOMEM);
        g_assert_null(entry);

        keeper.refuses = 0;
        g_assert_cmpint(spool_put(spool, 1, &fd, 1, "x", 1, &entry), ==, 0);
        g_assert_cmpuint(keeper.n, ==, 1);
        entry = spool_drop(entry);
        spool = spool_free(spool);
        keeper_done(&keeper);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/spool/a queue that nobody keeps is none", test_a_queue_that_nobody_keeps);
        g_test_add_func("/spool/outlives whoever put something in", test_outlives);
        g_test_add_func("/spool/gives things back in any order", test_any_order);
        g_test_add_func("/spool/refuses what is too much", test_is_full);
        g_test_add_func("/spool/takes no strange contents", test_strange_contents);
        g_test_add_func("/spool/moves things only when all are known", test_moves_while_reading);
        g_test_add_func("/spool/drops nothing that it cannot read", test_fails_to_read);
        g_test_add_func("/spool/does not read without the peek offset", test_fails_to_set_the_offset);
        g_test_add_func("/spool/waits for descriptors", test_out_of_descriptors);
        return g_test_run();
}
