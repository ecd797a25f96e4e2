/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "run": calls of bind() that the kernel would refuse get a socket from the service. */

#include "ctl/cli/context.h"
#include "ctl/serve/command.h"

/* Runs the verb. */
int run_command(Context *c, const Command *command);
