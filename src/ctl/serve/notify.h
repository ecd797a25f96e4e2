/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Messages to the service manager (sd_notify(3)), for a unit with Type=notify. Nothing is sent if the tool
 * has no NOTIFY_SOCKET.
 *
 * With NotifyAccess=main, systemd takes messages of the main process only, which is the tool. COMMAND
 * therefore gets a socket of the tool as its NOTIFY_SOCKET, and the tool passes its messages on.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "ctl/service/lease.h"

/* The tool serves. If the unit has WatchdogSec=, the loop sends keep-alives from now on. */
void notify_ready(sd_event *event, const Lease *lease);
/* The addresses of the lease as the status of the unit. */
void notify_addresses(const Lease *lease);
/* The tool was told to end. */
void notify_stopping(void);

typedef struct NotifyProxy NotifyProxy;

/* Passes on the messages of all descendants of the tool. *ret is NULL if the tool has no NOTIFY_SOCKET. */
int notify_proxy_new(sd_event *event, NotifyProxy **ret);
NotifyProxy *notify_proxy_free(NotifyProxy *p);

/* The value of NOTIFY_SOCKET for COMMAND. NULL if there is no proxy. */
const char *notify_proxy_get_socket(const NotifyProxy *p);

/* Whether the tool gets another COMMAND when this one ends: its STOPPING=1 is then not that of the unit. */
void notify_proxy_set_restarting(NotifyProxy *p, bool restarting);
