/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Shared by the test and the library that it loads into the service: the call that is to fail, and its error.
 */

#include <stddef.h>
#include <stdint.h>

#define FAULT_FILE_VARIABLE "FAULT_CONTROL"
#define FAULT_ERRORS_MAX 25 /* and a 0 at the end */

/*
 * The calls, with each errno of their manual pages in section 2, and section 7 for sockets, including those
 * of programming errors. Not in the list are errors of other kinds of files, sockets and commands than the
 * service uses, such as ELOOP of bind(), which is about paths; and ENOTSOCK of sendmsg() and recvmsg(), which
 * makes sd-bus assume a pipe and stop passing descriptors.
 */
#define FAULT_KINDS(X)                                                                                      \
        X(ALLOCATION, "malloc", ENOMEM)                                                                     \
        X(SOCKET, "socket", EACCES, EAFNOSUPPORT, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTONOSUPPORT) \
        X(SOCKETPAIR, "socketpair", EAFNOSUPPORT, EFAULT, EMFILE, ENFILE, ENOMEM, EOPNOTSUPP,               \
          EPROTONOSUPPORT)                                                                                  \
        X(SETSOCKOPT, "setsockopt", EBADF, EFAULT, EINVAL, ENOBUFS, ENODEV, ENOMEM, ENOPROTOOPT, ENOTSOCK,  \
          EPERM)                                                                                            \
        X(GETSOCKOPT, "getsockopt", EBADF, EFAULT, EINVAL, ENOBUFS, ENOPROTOOPT, ENOTSOCK)                  \
        X(GETSOCKNAME, "getsockname", EBADF, EFAULT, EINVAL, ENOBUFS, ENOTSOCK)                             \
        X(BIND, "bind", EACCES, EADDRINUSE, EADDRNOTAVAIL, EBADF, EFAULT, EINVAL, ENODEV, ENOMEM, ENOTSOCK) \
        X(LISTEN, "listen", EADDRINUSE, EBADF, ENOTSOCK, EOPNOTSUPP)                                        \
        X(ACCEPT, "accept4", EAGAIN, EBADF, ECONNABORTED, EFAULT, EHOSTDOWN, EHOSTUNREACH, EINTR, EINVAL,   \
          EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, ENONET, ENOPROTOOPT, ENOSR, ENOTSOCK,     \
          EOPNOTSUPP, EPERM, EPROTO, EPROTONOSUPPORT, ESOCKTNOSUPPORT, ETIMEDOUT)                           \
        X(FCHOWN, "fchown", EBADF, EIO, EPERM)                                                              \
        X(SHUTDOWN, "shutdown", EBADF, EINVAL, ENOTCONN, ENOTSOCK)                                          \
        X(FCNTL, "fcntl", EBADF, EINVAL, EMFILE, EPERM)                                                     \
        X(IOCTL, "ioctl", EBADF, EFAULT, EINVAL, ENOTTY)                                                    \
        X(PIPE, "pipe2", EFAULT, EINVAL, EMFILE, ENFILE)                                                    \
        X(EPOLL_CREATE, "epoll_create1", EINVAL, EMFILE, ENFILE, ENOMEM)                                    \
        X(EPOLL_CTL, "epoll_ctl", EBADF, EEXIST, EINVAL, ELOOP, ENOMEM, ENOSPC, EPERM)                      \
        X(EPOLL_WAIT, "epoll_wait", EBADF, EFAULT, EINTR, EINVAL)                                           \
        X(TIMERFD_CREATE, "timerfd_create", EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, EPERM)                  \
        X(TIMERFD_SETTIME, "timerfd_settime", EBADF, ECANCELED, EFAULT, EINVAL)                             \
        X(SENDMSG, "sendmsg", EACCES, EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EDESTADDRREQ, EFAULT, EINTR, \
          EINVAL, EISCONN, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN, EOPNOTSUPP, EPERM, EPIPE, ESRCH,            \
          ETOOMANYREFS)                                                                                     \
        X(SENDTO, "sendto", EACCES, EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EDESTADDRREQ, EFAULT, EINTR,   \
          EINVAL, EISCONN, EMSGSIZE, ENOBUFS, ENOMEM, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPIPE)                \
        X(RECVMSG, "recvmsg", EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EFAULT, EINTR, EINVAL, ENOMEM,       \
          ENOTCONN)                                                                                         \
        X(RECV, "recv", EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EFAULT, EINTR, EINVAL, ENOMEM, ENOTCONN,   \
          ENOTSOCK)                                                                                         \
        X(READ, "read", EAGAIN, EBADF, EFAULT, EINTR, EINVAL, EIO, EISDIR)                                  \
        X(WRITE, "write", EAGAIN, EBADF, EDESTADDRREQ, EDQUOT, EFAULT, EFBIG, EINTR, EINVAL, EIO, ENOSPC,   \
          EPERM, EPIPE)                                                                                     \
        X(OPEN, "open", EACCES, EINTR, EINVAL, EISDIR, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENODEV, ENOENT, \
          ENOMEM, ENOTDIR, ENXIO, EOVERFLOW, EPERM)                                                         \
        X(READLINK, "readlink", EACCES, EFAULT, EINVAL, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR)  \
        X(STATX, "statx", EACCES, EBADF, EFAULT, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR)      \
        X(POLL, "poll", EFAULT, EINTR, EINVAL, ENOMEM)                                                      \
        X(GETRANDOM, "getrandom", EAGAIN, EFAULT, EINTR, EINVAL, ENOSYS)                                    \
        X(GETRLIMIT, "getrlimit", EFAULT, EINVAL, EPERM, ESRCH)                                             \
        X(IF_NAMETOINDEX, "if_nametoindex", EINVAL, EMFILE, ENFILE, ENOBUFS, ENODEV, ENOMEM)

typedef enum FaultKind {
#define X(kind, ...) FAULT_##kind,
        FAULT_KINDS(X)
#undef X
        _FAULT_KIND_MAX,
} FaultKind;

typedef enum FaultMode {
        FAULT_OFF,
        FAULT_COUNT,
        FAULT_FAIL, /* fails the call, and counts */
        FAULT_KILL, /* kills the process before the system call */
} FaultMode;

typedef struct FaultControl {
        uint32_t mode; /* FaultMode */
        uint32_t counts[_FAULT_KIND_MAX];
        uint32_t n_system_calls; /* without allocations */
        uint32_t last;           /* FaultKind of the system call before the fault */

        uint32_t kind;    /* FaultKind; not used by FAULT_KILL */
        uint32_t ordinal; /* 0: the first call of the kind, or with FAULT_KILL the first system call */
        int32_t error;
        uint32_t fired;

        int64_t allocations; /* that are not freed */
} FaultControl;
