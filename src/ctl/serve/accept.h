/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "listen --accept": one process of COMMAND for each connection, as with Accept=yes of systemd and inetd. */

#include "ctl/cli/context.h"
#include "ctl/serve/command.h"

/* Runs the verb; argv[0] is its name. */
int accept_connections(int argc, char *argv[], Context *c, const Command *command);
