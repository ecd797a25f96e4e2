/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the test and the library that it loads into the service share: which call is to fail, and how. */

#include <stddef.h>
#include <stdint.h>

#define FAULT_FILE_VARIABLE "FAULT_CONTROL"
#define FAULT_ERRORS_MAX 25 /* and a 0 at the end */

/*
 * The calls, and each errno that their manual pages name, in section 2 and for sockets in section 7, also
 * those that only a mistake of the caller's would bring about: what is done about one is done about it. Left
 * out are what belongs to other kinds of files, sockets and commands than the service's, such as ELOOP for
 * bind(), which is about paths; and ENOTSOCK of sendmsg() and recvmsg(), which sd-bus takes for a bus behind
 * a pipe, where no descriptor can pass from then on.
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
        FAULT_FAIL, /* counts as well */
        FAULT_KILL, /* ends the process instead, before the system call */
} FaultMode;

typedef struct FaultControl {
        uint32_t mode; /* FaultMode */
        uint32_t counts[_FAULT_KIND_MAX];
        uint32_t n_system_calls; /* of all kinds but allocations */
        uint32_t last;           /* FaultKind of these, the last before the one that was fired at */

        uint32_t kind;    /* FaultKind; FAULT_KILL counts them all */
        uint32_t ordinal; /* 0: the first of its kind */
        int32_t error;
        uint32_t fired;

        int64_t allocations; /* what is allocated and not freed, at any time */
} FaultControl;
