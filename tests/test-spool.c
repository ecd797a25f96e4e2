/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/descriptors.h"
#include "base/macros.h"
#include "daemon/store/spool.h"
#include "register.h"

#define QUEUES 8U

__typeof__(setsockopt) __real_setsockopt, __wrap_setsockopt;

/* The number of calls that succeed before one fails; -1: none fails. */
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

/* Whether receiving without a buffer removes a packet. */
static bool socket_removes(int in, int out) {
        struct msghdr message = {};

        g_assert_no_errno(send(in, "x", 1, 0));
        (void) recvmsg(out, &message, MSG_DONTWAIT);
        return recv(out, NULL, 0, MSG_DONTWAIT) < 0;
}

/* qemu's emulation of single programs has neither. */
static bool require_kernel(void) {
        const char *missing = NULL;
        int ends[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        if (!socket_removes(ends[0], ends[1]))
                missing = "needs recvmsg() without a buffer to remove a packet";
        else if (!socket_has_peek_offset(ends[1]))
                missing = "needs the socket option SO_PEEK_OFF";
        close(ends[0]);
        close(ends[1]);

        if (missing)
                g_test_skip(missing);
        return !missing;
}

/* Plays systemd, which keeps copies of the ends of all queues. */
typedef struct Keeper {
        int ends[QUEUES][2];
        unsigned n;
        int error; /* a negative errno: keeps nothing */
} Keeper;

static int on_queue(unsigned number, const int ends[static 2], void *userdata) {
        Keeper *keeper = userdata;

        if (keeper->error < 0)
                return keeper->error;

        g_assert_cmpuint(number, <, QUEUES);
        g_assert_cmpint(keeper->ends[number][0], ==, -EBADF);
        for (size_t i = 0; i < 2; i++) {
                keeper->ends[number][i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
                g_assert_no_errno(keeper->ends[number][i]);
        }
        keeper->n++;
        return 0;
}

/* Entries that spool_read() has found. */
typedef struct Found {
        unsigned n;
        uint32_t numbers[4096];
        SpoolEntry *entries[4096];
        uint32_t drop; /* this one is dropped */
        bool fail;     /* or reading fails there */
} Found;

/* An entry is one end of a pipe. The other end shows when all copies of the entry are closed. */
typedef struct Thing {
        int witness;
        SpoolEntry *entry;
} Thing;

typedef struct Test {
        Keeper keeper;
        Spool *spool;
        Found found;
        Thing things[300];
        unsigned n_fds; /* before the test */
} Test;

static void put(Test *t, uint32_t number, uint64_t key) {
        Thing *thing = t->things + number;
        int ends[2];

        g_assert_no_errno(pipe2(ends, O_CLOEXEC));
        g_assert_cmpint(spool_put(t->spool, key, ends + 1, 1, &number, sizeof(number), &thing->entry), ==, 0);
        close(ends[1]);
        thing->witness = ends[0];
}

/* Puts things with these numbers into the same queue. */
static void put_all(Test *t, uint32_t first, uint32_t last) {
        for (uint32_t i = first; i <= last; i++)
                put(t, i, 0);
}

static bool is_there(const Test *t, uint32_t number) {
        struct pollfd p = { .fd = t->things[number].witness };

        must(p.fd);
        g_assert_no_errno(poll(&p, 1, 0));
        return !(p.revents & POLLHUP);
}

static void drop(Test *t, uint32_t number) {
        t->things[number].entry = spool_drop(t->things[number].entry);
}

static void forget(Test *t, uint32_t number) {
        t->things[number].witness = close_fd(t->things[number].witness);
}

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

/* The spool of the next process, which gets copies of the ends in either order. Drops nothing by default. */
static void reopen(Test *t, bool swap) {
        t->spool = spool_free(t->spool);
        t->found.n = 0;
        t->found.drop = UINT32_MAX;
        g_assert_cmpint(spool_new(QUEUES, on_queue, &t->keeper, &t->spool), ==, 0);

        for (unsigned i = 0; i < QUEUES; i++) {
                int ends[2];

                if (t->keeper.ends[i][0] < 0)
                        continue;
                for (size_t end = 0; end < 2; end++)
                        ends[end] = fcntl(t->keeper.ends[i][swap ? 1 - end : end], F_DUPFD_CLOEXEC, 3);
                g_assert_cmpint(spool_adopt(t->spool, i, ends), ==, 0);
        }
}

static void expect_found(Test *t, unsigned n) {
        g_assert_cmpint(spool_read(t->spool, on_found, &t->found), ==, 0);
        g_assert_cmpuint(t->found.n, ==, n);
}

/* Each of the entries that were found can be dropped, and is the one with its number. */
static void expect_droppable(Test *t) {
        for (unsigned i = 0; i < t->found.n; i++) {
                uint32_t number = t->found.numbers[i];

                if (number == t->found.drop)
                        continue;
                g_assert_true(is_there(t, number));
                (void) spool_drop(t->found.entries[i]);
                g_assert_false(is_there(t, number));
                forget(t, number);
        }
}

/* Returns whether the kernel enforces that no further descriptor can be opened; valgrind does not. */
static bool start_shortage(struct rlimit *ret_limit) {
        struct rlimit none;
        int ends[2];

        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, ret_limit));
        none = *ret_limit;
        none.rlim_cur = 3;
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &none));
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return true;
        (void) close_fd(ends[0]);
        (void) close_fd(ends[1]);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, ret_limit));
        return false;
}

static unsigned count_fds(void) {
        g_autoptr(GDir) directory = g_dir_open("/proc/self/fd", 0, NULL);
        unsigned n = 0;

        while (g_dir_read_name(directory))
                n++;
        return n;
}

static void set_up(Test *t, const void *data) {
        descriptors_raise_limit();
        t->n_fds = count_fds();
        for (unsigned i = 0; i < QUEUES; i++)
                t->keeper.ends[i][0] = t->keeper.ends[i][1] = -EBADF;
        for (size_t i = 0; i < ELEMENTS(t->things); i++)
                t->things[i].witness = -EBADF;
        reopen(t, false);
}

static void tear_down(Test *t, const void *data) {
        t->spool = spool_free(t->spool);
        for (uint32_t i = 0; i < ELEMENTS(t->things); i++)
                forget(t, i);
        for (unsigned i = 0; i < QUEUES; i++)
                for (size_t end = 0; end < 2; end++)
                        (void) close_fd(t->keeper.ends[i][end]);
        g_assert_cmpuint(count_fds(), ==, t->n_fds);
}

#define TEST(sentence) TEST_OF_IF(require_kernel(), sentence, Test, t, set_up, tear_down, NULL)

TEST("keeps entries after the process") {
        put_all(t, 0, 2);
        g_assert_cmpuint(t->keeper.n, ==, 1);
        drop(t, 1);
        g_assert_false(is_there(t, 1));
        t->spool = spool_free(t->spool);
        g_assert_true(is_there(t, 0));
        g_assert_true(is_there(t, 2));

        for (unsigned round = 0; round < 4; round++) {
                reopen(t, round % 2);
                expect_found(t, 2);
                g_assert_cmpuint(t->found.numbers[0] + t->found.numbers[1], ==, 2);
        }
        expect_droppable(t);
}

TEST("removes entries in any order") {
        enum {
                N = ELEMENTS(t->things)
        };
        g_autoptr(GRand) random = g_rand_new_with_seed(4711);
        unsigned n_there = 0;

        for (unsigned step = 0; step < 20000; step++) {
                uint32_t i = (uint32_t) g_rand_int_range(random, 0, N);
                bool hold = g_rand_boolean(random);

                if (t->things[i].witness < 0) {
                        put(t, i, g_rand_int(random));
                        n_there++;
                        continue;
                }
                if (hold)
                        spool_hold(t->spool);
                for (unsigned n = 0; n < (hold ? 20U : 1U); n++, i = (i + 1) % N) {
                        if (t->things[i].witness < 0)
                                continue;
                        drop(t, i);
                        g_assert_true(hold || !is_there(t, i));
                        forget(t, i);
                        n_there--;
                }
                spool_release(t->spool);
        }
        for (uint32_t i = 0; i < N; i++)
                g_assert_true(t->things[i].witness < 0 || is_there(t, i));

        /* A sealed spool keeps everything. */
        spool_seal(t->spool);
        for (uint32_t i = 0; i < N; i += 7)
                if (t->things[i].witness >= 0)
                        drop(t, i);

        reopen(t, false);
        expect_found(t, n_there);
        expect_droppable(t);
        for (uint32_t i = 0; i < N; i++)
                g_assert_cmpint(t->things[i].witness, <, 0);
}

TEST("refuses entries when all queues are full") {
        enum {
                N = 4096
        };
        g_autofree SpoolEntry **entries = g_new0(SpoolEntry *, N);
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        struct rlimit limit;
        unsigned n = 0;
        int r = 0;

        /* Unless the sender is privileged, sendmsg() fails with ETOOMANYREFS when its user has sent more
         * descriptors than that which have not been received. */
        g_assert_no_errno(getrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_cur < N) {
                g_test_skip("needs RLIMIT_NOFILE=4096");
                return;
        }

        while (n < N && r == 0) {
                r = spool_put(t->spool, 0, &fd, 1, &n, sizeof(n), entries + n);
                if (r == 0)
                        n++;
        }
        g_assert_cmpint(r, ==, -ENOSPC);
        g_assert_cmpuint(n, >, 1000);
        g_assert_cmpuint(t->keeper.n, ==, QUEUES);

        /* The entry in front of it cannot move; it is removed when there is room. */
        (void) spool_drop(entries[1]);
        for (unsigned i = 0; i < n; i++)
                if (i != 1)
                        (void) spool_drop(entries[i]);

        reopen(t, false);
        expect_found(t, 0);
}

TEST("ignores foreign packets") {
        _cleanup_free_ char *big = calloc(1, 2 * SPOOL_DATA_MAX);
        int ends[2], wrong[2];

        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        g_assert_no_errno(send(ends[0], "no descriptor", 13, 0));
        g_assert_no_errno(send(ends[0], big, 2 * SPOOL_DATA_MAX, 0));
        memcpy(t->keeper.ends[3], ends, sizeof(ends));

        reopen(t, true);
        expect_found(t, 0);
        put(t, 7, 3);
        t->spool = spool_free(t->spool);
        g_assert_true(is_there(t, 7));

        reopen(t, false);
        t->found.drop = 7;
        expect_found(t, 1);
        g_assert_false(is_there(t, 7));

        g_assert_no_errno(pipe2(wrong, O_CLOEXEC));
        g_assert_cmpint(spool_adopt(t->spool, 4, wrong), ==, -EINVAL);
        g_assert_cmpint(fcntl(wrong[0], F_GETFD), <, 0);
        g_assert_no_errno(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wrong));
        g_assert_cmpint(spool_adopt(t->spool, QUEUES, wrong), ==, -EINVAL);
}

/* The entries in front of a dropped one move to the end of a queue that may not have been read yet. */
TEST("moves entries after all are read") {
        put_all(t, 0, 1);
        drop(t, 1);
        must(t->keeper.ends[QUEUES / 2][0]);
        put_all(t, 2, 4);

        reopen(t, false);
        t->found.drop = 4;
        expect_found(t, 4);
        g_assert_false(is_there(t, 4));
        expect_droppable(t);
}

TEST("drops nothing when reading fails") {
        struct rlimit limit;

        put_all(t, 0, 2);
        reopen(t, false);
        t->found.drop = 1;
        t->found.fail = true;
        g_assert_cmpint(spool_read(t->spool, on_found, &t->found), ==, -ENOMEM);

        reopen(t, false);
        if (start_shortage(&limit)) {
                int r = spool_read(t->spool, on_found, &t->found);

                g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
                g_assert_cmpint(r, ==, -EMFILE);
        }

        reopen(t, false);
        expect_found(t, 3);
        expect_droppable(t);
}

/* Without the offset, each peek would show the first packet again. */
TEST("does not read without the peek offset") {
        put_all(t, 0, 2);
        for (int i = 0; i < 2; i++) {
                reopen(t, false);
                calls_until_failure = i;
                g_assert_cmpint(spool_read(t->spool, on_found, &t->found), ==, -ENOPROTOOPT);
                g_assert_cmpint(calls_until_failure, ==, -1);
                g_assert_cmpuint(t->found.n, ==, i == 0 ? 0 : 3);
        }

        reopen(t, false);
        expect_found(t, 3);
}

/* Without a descriptor, the entry in front of a dropped one cannot move. */
TEST("waits for descriptors") {
        struct rlimit limit;

        put_all(t, 0, 2);
        bool is_short = start_shortage(&limit);
        drop(t, 1);
        g_assert_no_errno(setrlimit(RLIMIT_NOFILE, &limit));
        g_assert_cmpint(is_there(t, 1), ==, is_short);

        drop(t, 2);
        g_assert_true(is_there(t, 0));
        g_assert_false(is_there(t, 1));
        g_assert_false(is_there(t, 2));
}

TEST("removes a queue that is not stored") {
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        SpoolEntry *entry = NULL;

        t->keeper.error = -ENOMEM;
        g_assert_cmpint(spool_prepare(t->spool, 1), ==, -ENOMEM);
        g_assert_cmpint(spool_put(t->spool, 1, &fd, 1, "x", 1, &entry), ==, -ENOMEM);
        g_assert_null(entry);

        t->keeper.error = 0;
        g_assert_cmpint(spool_put(t->spool, 1, &fd, 1, "x", 1, &entry), ==, 0);
        g_assert_cmpuint(t->keeper.n, ==, 1);
        (void) spool_drop(entry);
}
