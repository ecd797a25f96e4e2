/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The other programs: those that are measured, and that say when they are ready. */

#include <systemd/sd-bus.h>

#include "bus/message-bus.h"
#include "bus/process.h"

typedef struct Helper {
        TestChild *child;
        char *log;       /* the file that it writes to */
        char *last_line; /* once it is ready, or has ended: the last one that it has written, without "ready"
                          */
} Helper;

/* argv[0] is found beside this program, or by $PATH. Its bus, if it needs any, is this one. */
Helper *helper_start(const char *const *argv, TestBus *bus, const char *log_name);
/* Waits until it has said "ready". False: it has ended instead. */
bool helper_wait_ready(Helper *h, unsigned milliseconds);
/* The numbers that it has written, one a line. */
GArray *helper_read_ports(Helper *h);
void helper_free(Helper *h);

/* The full name of a program beside this one. */
char *helper_find(const char *name);
/* A new connection of this process's own, which is not attached to the event loop. */
sd_bus *helper_connect(TestBus *bus);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Helper, helper_free)
