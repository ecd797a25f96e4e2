/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The interface between the service and the BPF programs of the guard: a level of setsockopt() that no
 * protocol of the kernel has, so that setsockopt() fails with ENOPROTOOPT on a TCP socket without a guard. */
#define GUARD_LEVEL 0x54535347

/* The version of the guard's programs. The loader replaces programs of another version. */
#ifndef GUARD_VERSION
#define GUARD_VERSION 1
#endif

/* The options of the level. Only the service may use them; for other users they fail with EPERM. */
enum {
        /* Succeeds if the guard has the given version, an int, and fails with EPERM if it has another. */
        GUARD_CHECK_VERSION = 1,

        /* Clears the mark of a listening socket, without a value: the socket gets no packet any more, and
         * thus no new connection. Only bind() by the service sets the mark again. */
        GUARD_CLEAR_MARK = 2,
};
