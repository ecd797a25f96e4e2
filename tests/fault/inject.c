/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A library that is loaded into the service in front of the C library. It fails the n-th call of a kind, or
 * kills the process before it, as the test requests; also calls of libsystemd. Calls that only fail for
 * invalid arguments are left out, and so is close(), because Linux closes the descriptor even then.
 */

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "fault/fault.h"

#define PUBLIC __attribute__((visibility("default")))

static FaultControl *control;

/* For dlsym(), which allocates memory before it has found malloc(). */
static char early[16384];
static size_t early_size;

static bool is_early(const void *p) {
        return (const char *) p >= early && (const char *) p < early + sizeof(early);
}

static void *early_alloc(size_t size) {
        void *p = early + early_size;

        size = (size + 15) & ~(size_t) 15;
        if (size > sizeof(early) - early_size)
                abort();
        early_size += size;
        return p;
}

/* dlsym() frees the text of an earlier error. Volatile, because <dlfcn.h> declares that it does not call
 * back. */
static __thread volatile bool in_lookup;

static void *look_up(const char *symbol) {
        bool outer = in_lookup;
        void *found;

        in_lookup = true;
        found = dlsym(RTLD_NEXT, symbol);
        in_lookup = outer;
        return found;
}

/* The next definition of a function, looked up once. With large file support, open() is open64(), for
 * example. */
#define NEXT_AS(name, symbol)                                              \
        __extension__({                                                    \
                static __typeof__(&(name)) next_one;                       \
                if (!next_one)                                             \
                        next_one = (__typeof__(next_one)) look_up(symbol); \
                next_one;                                                  \
        })
#define NEXT(name) NEXT_AS(name, #name)

__attribute__((constructor)) static void start(void) {
        const char *path = getenv(FAULT_FILE_VARIABLE);
        void *frames[1];
        void *p;

        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        if (fd < 0)
                return;

        (void) backtrace(frames, 1); /* loads libgcc */
        p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        (void) close(fd);
        if (p != MAP_FAILED)
                control = p;
}

/* Writes a backtrace of the fault to the log, which the test shows on failure. */
static void show_place(void) {
        void *frames[24];
        int n = backtrace(frames, 24);

        backtrace_symbols_fd(frames + 2, n > 2 ? n - 2 : 0, STDERR_FILENO);
}

static void end_process(FaultKind kind) {
        uint32_t ordinal = control->n_system_calls++;

        if (control->mode != FAULT_KILL || ordinal != control->ordinal) {
                control->last = kind;
                return;
        }

        control->fired = 1;
        control->mode = FAULT_OFF;
        show_place();
        (void) raise(SIGKILL);
}

static bool fails(FaultKind kind) {
        if (!control || control->mode == FAULT_OFF)
                return false;

        if (kind != FAULT_ALLOCATION)
                end_process(kind);

        uint32_t ordinal = control->counts[kind]++;
        if (control->mode != FAULT_FAIL || kind != control->kind || ordinal != control->ordinal ||
            control->fired)
                return false;

        control->fired = 1;
        control->mode = FAULT_OFF;
        show_place();
        control->mode = FAULT_COUNT;
        errno = control->error;
        return true;
}

static void count_allocation(const void *p, int n) {
        if (control && p)
                control->allocations += n;
}

PUBLIC void *malloc(size_t size) {
        static bool looking;
        void *p;

        if (looking)
                return early_alloc(size);
        looking = true;
        __typeof__(&malloc) next = NEXT(malloc);
        looking = false;

        if (fails(FAULT_ALLOCATION))
                return NULL;
        p = next(size);
        count_allocation(p, 1);
        return p;
}

PUBLIC void *calloc(size_t n, size_t size) {
        static bool looking;
        void *p;

        if (looking)
                return early_alloc(n * size);
        looking = true;
        __typeof__(&calloc) next = NEXT(calloc);
        looking = false;

        if (fails(FAULT_ALLOCATION))
                return NULL;
        p = next(n, size);
        count_allocation(p, 1);
        return p;
}

/* Also covers reallocarray(), strdup() and similar functions. */
PUBLIC void *realloc(void *old, size_t size) {
        void *p;

        if (fails(FAULT_ALLOCATION))
                return NULL;
        p = NEXT(realloc)(old, size);
        if (!old)
                count_allocation(p, 1);
        return p;
}

PUBLIC void free(void *p) {
        static void (*next)(void *);

        if (is_early(p))
                return;
        /* Its own lookup may come here again; that text is leaked. */
        if (!next && in_lookup)
                return;
        if (!next)
                next = (__typeof__(next)) look_up("free");
        count_allocation(p, -1);
        next(p);
}

#define INTERPOSE(kind, type, name, parameters, arguments)              \
        PUBLIC type name parameters {                                   \
                return fails(FAULT_##kind) ? -1 : NEXT(name) arguments; \
        }
#define INTERPOSE_AS(kind, symbol, type, name, parameters, arguments)              \
        PUBLIC type name parameters {                                              \
                return fails(FAULT_##kind) ? -1 : NEXT_AS(name, symbol) arguments; \
        }

INTERPOSE(SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol))
INTERPOSE(SOCKETPAIR,
          int,
          socketpair,
          (int family, int type, int protocol, int pair[2]),
          (family, type, protocol, pair))
INTERPOSE(SETSOCKOPT,
          int,
          setsockopt,
          (int fd, int level, int name, const void *value, socklen_t size),
          (fd, level, name, value, size))
INTERPOSE(GETSOCKOPT,
          int,
          getsockopt,
          (int fd, int level, int name, void *value, socklen_t *size),
          (fd, level, name, value, size))
INTERPOSE(GETSOCKNAME,
          int,
          getsockname,
          (int fd, struct sockaddr *address, socklen_t *size),
          (fd, address, size))
INTERPOSE(BIND, int, bind, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
INTERPOSE(LISTEN, int, listen, (int fd, int backlog), (fd, backlog))
INTERPOSE(ACCEPT,
          int,
          accept4,
          (int fd, struct sockaddr *address, socklen_t *size, int flags),
          (fd, address, size, flags))
INTERPOSE(FCHOWN, int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
INTERPOSE(SHUTDOWN, int, shutdown, (int fd, int how), (fd, how))
INTERPOSE(PIPE, int, pipe2, (int ends[2], int flags), (ends, flags))
INTERPOSE(EPOLL_CREATE, int, epoll_create1, (int flags), (flags))
INTERPOSE(EPOLL_WAIT,
          int,
          epoll_wait,
          (int epoll, struct epoll_event *events, int n, int timeout),
          (epoll, events, n, timeout))
INTERPOSE(TIMERFD_CREATE, int, timerfd_create, (int clock, int flags), (clock, flags))
INTERPOSE(TIMERFD_SETTIME,
          int,
          timerfd_settime,
          (int fd, int flags, const struct itimerspec *value, struct itimerspec *old),
          (fd, flags, value, old))
INTERPOSE(SENDTO,
          ssize_t,
          sendto,
          (int fd, const void *data, size_t n, int flags, const struct sockaddr *to, socklen_t size),
          (fd, data, n, flags, to, size))
INTERPOSE(RECVMSG, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
INTERPOSE(RECV, ssize_t, recv, (int fd, void *data, size_t n, int flags), (fd, data, n, flags))
INTERPOSE(READ, ssize_t, read, (int fd, void *data, size_t n), (fd, data, n))
INTERPOSE(WRITE, ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n))
INTERPOSE(WRITE, ssize_t, writev, (int fd, const struct iovec *iov, int n), (fd, iov, n))
INTERPOSE(READLINK, ssize_t, readlink, (const char *path, char *target, size_t n), (path, target, n))
INTERPOSE(STATX,
          int,
          statx,
          (int fd, const char *path, int flags, unsigned mask, struct statx *stat),
          (fd, path, flags, mask, stat))
INTERPOSE(POLL, int, poll, (struct pollfd * fds, nfds_t n, int timeout), (fds, n, timeout))
INTERPOSE(POLL,
          int,
          ppoll,
          (struct pollfd * fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask),
          (fds, n, timeout, mask))
INTERPOSE(GETRANDOM, ssize_t, getrandom, (void *data, size_t n, unsigned flags), (data, n, flags))
INTERPOSE_AS(GETRLIMIT,
             "getrlimit64",
             int,
             getrlimit,
             (__rlimit_resource_t resource, struct rlimit *limit),
             (resource, limit))

/* Only adding a descriptor needs memory. */
PUBLIC int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
        return operation == EPOLL_CTL_ADD && fails(FAULT_EPOLL_CTL)
                               ? -1
                               : NEXT(epoll_ctl)(epoll, operation, fd, event);
}

/* True for the connection to the bus, false for the queues of the store. */
static bool is_stream(int fd) {
        socklen_t size = sizeof(int);
        int type;

        return NEXT(getsockopt)(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/* Also shuts the bus connection down after an error that means a broken one, so that the event loop sees it.
 */
PUBLIC ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
        if (!fails(FAULT_SENDMSG))
                return NEXT(sendmsg)(fd, message, flags);

        if ((control->error == EPIPE || control->error == ECONNRESET || control->error == ENOTCONN) &&
            is_stream(fd))
                (void) NEXT(shutdown)(fd, SHUT_RDWR);
        errno = control->error;
        return -1;
}

PUBLIC unsigned if_nametoindex(const char *name) {
        return fails(FAULT_IF_NAMETOINDEX) ? 0 : NEXT(if_nametoindex)(name);
}

PUBLIC int open(const char *path, int flags, ...) {
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
        va_end(arguments);
        return fails(FAULT_OPEN) ? -1 : NEXT_AS(open, "open64")(path, flags, mode);
}

PUBLIC int fcntl(int fd, int command, ...) {
        va_list arguments;
        void *argument;

        va_start(arguments, command);
        argument = va_arg(arguments, void *);
        va_end(arguments);
        return fails(FAULT_FCNTL) ? -1 : NEXT_AS(fcntl, "fcntl64")(fd, command, argument);
}

PUBLIC int ioctl(int fd, unsigned long request, ...) {
        va_list arguments;
        void *argument;

        va_start(arguments, request);
        argument = va_arg(arguments, void *);
        va_end(arguments);
        return fails(FAULT_IOCTL) ? -1 : NEXT(ioctl)(fd, request, argument);
}

/* Shortens the delays of retries. */
PUBLIC int sd_event_add_time_relative(sd_event *event,
                                      sd_event_source **ret,
                                      clockid_t clock,
                                      uint64_t usec,
                                      uint64_t accuracy,
                                      sd_event_time_handler_t callback,
                                      void *userdata) {
        if (usec < UINT64_C(1000) * 1000) {
                usec /= 10;
                accuracy = 1;
        }
        return NEXT(sd_event_add_time_relative)(event, ret, clock, usec, accuracy, callback, userdata);
}
