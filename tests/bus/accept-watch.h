/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel stops the service at every accept4() and asks this process what is to come of it;
 * seccomp_unotify(2).
 */

#include <stdbool.h>

#include "bus/fixture.h"

typedef struct AcceptWatch {
        /* Returns 0 if the call shall be made, or the errno that it fails with. */
        int (*choose)(struct AcceptWatch *watch);
        /* So it was. May be NULL. Otherwise a signal has ended the call, and it is made again. */
        void (*chosen)(struct AcceptWatch *watch);

        int filter;
        sd_event_source *source;
} AcceptWatch;

/* Sets up the fixture. */
void accept_watch_set_up(AcceptWatch *watch, Fixture *fixture);
void accept_watch_tear_down(AcceptWatch *watch, Fixture *fixture);

/* Whether the kernel can do that; says so if it cannot. */
bool accept_watch_require(const AcceptWatch *watch);
