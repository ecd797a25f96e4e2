/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The resources of the service without activity. */

#include "machine/attack.h"

typedef struct Usage {
        pid_t pid;
        uint64_t memory; /* in bytes, its own and not shared */
        unsigned n_fds;
        unsigned n_stored;  /* in systemd's fd store */
        uint64_t n_wakeups; /* in a second */
} Usage;

/* Takes a second, in which the service must not be called. */
Usage usage_measure(void);
