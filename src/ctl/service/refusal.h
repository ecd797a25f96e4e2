/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an administrator can do about a call that polkit has not authorized. */

#include "ctl/cli/context.h"
#include "ctl/cli/endpoint.h"

/* message: of an error of the service. Prints the rule of polkit that would allow the call to this user, with
 * the port of the endpoint unless that is NULL. Prints nothing if a rule would not help. */
void refusal_print_rule(const Context *c, const char *message, const Endpoint *endpoint);
