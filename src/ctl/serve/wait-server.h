/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * "listen --inetd --wait": COMMAND gets the listening socket as standard input and output, as from inetd's
 * "wait".
 *
 * A process is started when a connection waits at its port, and accepts connections itself for as long as it
 * likes. After its end the next one is started, when a connection waits again. Each port has one process at
 * a time.
 */

#include "ctl/cli/context.h"
#include "ctl/serve/command.h"
#include "ctl/service/lease.h"

/* Runs until a signal ends the tool, or a port is lost. The lease has the sockets; its loop is started here,
 * and its ports are closed. Returns the signal, or a negative errno after an error message. */
int wait_server_run(const Context *c, const Command *command, Lease *lease);
