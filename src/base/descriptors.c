/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <sys/resource.h>

#include "base/descriptors.h"

/* Each connection on its way to a client takes two for a moment, and there may be 56 of them; a message
 * brings 16 at the most on dbus-daemon's system bus. The rest is for the process itself. */
#define RESERVE 192

bool errno_is_transient(int r) {
        return r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS ||
               r == -ENOSPC;
}

static bool is_in_reserve(int fd, rlim_t limit) {
        return limit != RLIM_INFINITY && (rlim_t) fd + RESERVE >= limit;
}

bool descriptor_is_in_reserve(int fd) {
        static rlim_t known = 0;
        static unsigned n = 0;
        struct rlimit limit;

        /* prlimit(1) may change it. If it is lowered, that is found out before the reserve is spent. */
        if (n++ % (RESERVE / 4) == 0 || is_in_reserve(fd, known)) {
                if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                        return false;
                known = limit.rlim_cur;
        }

        return is_in_reserve(fd, known);
}
