/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an administrator can do about a call of Listen that polkit has not authorized. */

#include "ctl/cli/context.h"

/* message: of an error of the service. Prints the rule of polkit that would allow this user the port; nothing
 * if a rule would not help. */
void refusal_print_rule(const Context *c, const char *message, uint16_t port);
