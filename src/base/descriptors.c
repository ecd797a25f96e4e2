/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <sys/resource.h>

#include "base/descriptors.h"

/* Each connection on its way to a client takes two for a moment, and there may be 56 of them; a message brings
 * 16 at the most on dbus-daemon's system bus. The rest is for the process itself. */
#define RESERVE 192

bool errno_is_transient(int r) {
        return r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS || r == -ENOSPC;
}

bool descriptor_is_in_reserve(int fd) {
        struct rlimit limit;

        /* Asked anew each time: prlimit(1) may change it. */
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
                return false;

        return (rlim_t) fd + RESERVE >= limit.rlim_cur;
}
