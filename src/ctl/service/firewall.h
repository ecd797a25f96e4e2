/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks firewalld whether it lets connections to a listener in, and prints a line for each port that it does
 * not let in, with the command that opens the port. Nothing waits for the answers. If they do not come within
 * a second, or if firewalld does not run or refuses to answer, nothing is printed. */

#include <systemd/sd-event.h>

#include "base/address.h"

typedef struct Firewall Firewall;

/* Sends the first question, on a connection to the system bus that belongs to the object. The addresses have
 * ports; interface is the option of Listen, or NULL. Returns 0 or a negative errno, and prints nothing; *ret
 * stays as it is if there is nothing to ask. */
int firewall_ask(sd_event *event, const char *interface, const Address *addresses, size_t n, Firewall **ret);
/* Drops the answers that have not come yet. */
Firewall *firewall_free(Firewall *f);
