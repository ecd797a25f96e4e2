/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/descriptors.h"

/* Each of up to 56 connections that are being delivered needs two for a moment. The rest is for the process
 * itself. */
#define RESERVE 192

static struct rlimit original;
static bool is_raised;

void descriptors_raise_limit(void) {
        struct rlimit raised;

        if (is_raised || getrlimit(RLIMIT_NOFILE, &original) < 0)
                return;

        raised = original;
        raised.rlim_cur = raised.rlim_max;
        is_raised = setrlimit(RLIMIT_NOFILE, &raised) == 0;
}

void descriptors_restore_limit(void) {
        if (is_raised)
                (void) setrlimit(RLIMIT_NOFILE, &original);
}

int descriptors_get_limit(unsigned *ret) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -errno;

        *ret = limit.rlim_cur > INT32_MAX ? INT32_MAX : (unsigned) limit.rlim_cur;
        return 0;
}

bool errno_is_transient(int r) {
        return r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM || r == -ETOOMANYREFS ||
               r == -ENOSPC;
}

bool descriptor_is_in_reserve(int fd) {
        static unsigned limit = 0, n = 0;

        assert(fd >= 0);

        /* Another process may change the limit with prlimit(2). Reading it this often notices a lower one
         * before the reserve is used up. */
        if (n++ % (RESERVE / 4) == 0 || (unsigned) fd + RESERVE >= limit)
                if (descriptors_get_limit(&limit) < 0)
                        return false;

        return (unsigned) fd + RESERVE >= limit;
}
