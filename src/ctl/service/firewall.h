/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks firewalld whether it lets connections to a listener in, and prints a line for each port that it does
 * not let in, with the command that opens the port. Nothing waits for the answers. If they do not come within
 * a second, or if firewalld does not run or refuses to answer, nothing is printed. */

#include <systemd/sd-event.h>

#include "base/address.h"
#include "ctl/cli/context.h"

typedef struct Firewall Firewall;

typedef struct FirewallPort {
        Address address;       /* with the port */
        const char *interface; /* the option of Listen, or NULL; need not outlive the call */
} FirewallPort;

/* Sends the first call. The connection of the context is attached to the event loop, and used unless it is
 * that of a session. Returns 0 or a negative errno, and prints nothing; *ret stays as it is if there is
 * nothing to ask. */
int firewall_ask(const Context *c, sd_event *event, const FirewallPort *ports, size_t n, Firewall **ret);
/* Drops the answers that have not come yet. */
Firewall *firewall_free(Firewall *f);
