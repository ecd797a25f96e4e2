/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/cli/nofile.h"

#include <stdbool.h>
#include <sys/resource.h>

static struct rlimit original;
static bool is_raised;

void nofile_raise(void) {
        struct rlimit raised;

        if (is_raised || getrlimit(RLIMIT_NOFILE, &original) < 0)
                return;

        raised = original;
        raised.rlim_cur = raised.rlim_max;
        is_raised = setrlimit(RLIMIT_NOFILE, &raised) == 0;
}

void nofile_restore(void) {
        if (is_raised)
                (void) setrlimit(RLIMIT_NOFILE, &original);
}
