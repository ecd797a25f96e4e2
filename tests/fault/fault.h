/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the test and the library that it loads into the service share: which call is to fail, and how. */

#include <stddef.h>
#include <stdint.h>

#define FAULT_FILE_VARIABLE "FAULT_CONTROL"
#define FAULT_ERRORS_MAX 12 /* and a 0 at the end */

/* The calls, and each errno that their manual pages name and that the kernel can return to this service. */
#define FAULT_KINDS(X)                                                                                    \
        X(ALLOCATION, "malloc", ENOMEM)                                                                   \
        X(SOCKET, "socket", EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES)                                      \
        X(SOCKETPAIR, "socketpair", EMFILE, ENFILE, ENOMEM)                                               \
        X(SETSOCKOPT, "setsockopt", ENOMEM, ENOBUFS, ENOPROTOOPT, EPERM, ENODEV)                          \
        X(GETSOCKOPT, "getsockopt", ENOBUFS, ENOPROTOOPT)                                                 \
        X(GETSOCKNAME, "getsockname", ENOBUFS)                                                            \
        X(BIND, "bind", EACCES, EADDRINUSE, EADDRNOTAVAIL, ENOMEM)                                        \
        X(LISTEN, "listen", EADDRINUSE)                                                                   \
        X(ACCEPT, "accept4", EAGAIN, EINTR, ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO, \
          EINVAL)                                                                                         \
        X(SHUTDOWN, "shutdown", ENOTCONN)                                                                 \
        X(FCNTL, "fcntl", EMFILE, EPERM)                                                                  \
        X(IOCTL, "ioctl", EINVAL)                                                                         \
        X(PIPE, "pipe2", EMFILE, ENFILE)                                                                  \
        X(EPOLL_CREATE, "epoll_create1", EMFILE, ENFILE, ENOMEM)                                          \
        X(EPOLL_CTL, "epoll_ctl", ENOMEM, ENOSPC)                                                         \
        X(EPOLL_WAIT, "epoll_wait", EINTR)                                                                \
        X(TIMERFD_CREATE, "timerfd_create", EMFILE, ENFILE, ENOMEM)                                       \
        X(TIMERFD_SETTIME, "timerfd_settime", EINVAL)                                                     \
        X(SENDMSG, "sendmsg", EAGAIN, EINTR, ENOBUFS, ENOMEM, ETOOMANYREFS, EPIPE, ECONNRESET)            \
        X(SENDTO, "sendto", EAGAIN, ENOBUFS, ENOMEM, ECONNREFUSED)                                        \
        X(RECVMSG, "recvmsg", EAGAIN, EINTR, ENOMEM, ECONNRESET)                                          \
        X(RECV, "recv", EINTR, ENOMEM)                                                                    \
        X(READ, "read", EAGAIN, EINTR, EIO)                                                               \
        X(WRITE, "write", EAGAIN, EINTR, EIO, ENOSPC, EPIPE)                                              \
        X(OPEN, "open", EACCES, EMFILE, ENFILE, ENOMEM)                                                   \
        X(READLINK, "readlink", EACCES, ENOMEM)                                                           \
        X(STATX, "statx", EACCES, ENOMEM)                                                                 \
        X(POLL, "poll", EINTR, ENOMEM)                                                                    \
        X(GETRANDOM, "getrandom", EAGAIN, EINTR, ENOSYS)                                                  \
        X(GETRLIMIT, "getrlimit", EPERM)                                                                  \
        X(IF_NAMETOINDEX, "if_nametoindex", ENODEV, EMFILE)

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
