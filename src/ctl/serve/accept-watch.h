/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tells that COMMAND does not accept on a port, where peers otherwise wait in silence.
 *
 * Each port is watched until its first connection, and then for five seconds: if COMMAND has not accepted one
 * by then, a message is printed. Afterwards the port is not watched any more, so that neither an idle nor a
 * busy server wakes the tool.
 */

#include <stddef.h>
#include <systemd/sd-event.h>

#include "ctl/service/lease.h"

typedef struct AcceptWatch AcceptWatch;

/* Watches the sockets of the lease, which is borrowed. Returns 0 or a negative
 * errno, without a message. */
int accept_watch_new(sd_event *event, const Lease *lease, AcceptWatch **ret);
AcceptWatch *accept_watch_free(AcceptWatch *w);
