/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* "listen --accept": one COMMAND for each connection, as systemd's Accept=yes and inetd have it. */

#include "ctl/cli/context.h"
#include "ctl/serve/command.h"

/* The verb. argv: what follows it. */
int accept_connections(int argc, char *argv[], Context *c, const Command *command);
