/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * COMMAND of "listen" and "run". The tool forwards its signals to the process, and ends with its status, or
 * with --restart starts it again. With --start-on-demand, it starts with the first connection.
 *
 * With --kill-mode=group, all processes that descend from COMMAND end with it, also those that have left its
 * process group and session. They remain descendants of the tool, which is their subreaper. A process group
 * of their own would not be the foreground group of the terminal.
 *
 * The functions that return an int print an error message when it is negative.
 */

#include <systemd/sd-event.h>

#include "ctl/cli/context.h"
#include "ctl/serve/command.h"
#include "ctl/service/lease.h"

typedef struct Server Server;

/* Catches the signals of the tool from now on. Context and command are borrowed. */
int server_new(const Context *c, const Command *command, Server **ret);
Server *server_free(Server *s);

/* The event loop of the tool, which ends with COMMAND. */
sd_event *server_get_event(Server *s);

/* Called before each start of a process. Returns 0, or a negative errno after an error message. */
void server_set_start_handler(Server *s, int (*handler)(void *userdata), void *userdata);

/* Starts the process, or waits for a connection that starts it. The memory to which the input points, and the
 * lease, are borrowed. */
int server_start(Server *s, const CommandInput *input, Lease *lease);

/* Notifies the service manager that the tool is ready, with the addresses of the lease. server_start() does
 * it if COMMAND gets sockets, which queue connections; else the first call of this function, or a timer. */
void server_set_ready(Server *s);

/* The ports are lost, which COMMAND may not notice: ends it, and server_run() then fails. Nothing is
 * printed. */
void server_lose(Server *s);

/* Runs the event loop until COMMAND has ended for the last time. Returns the exit status of its first
 * process, or 0 if a signal ended that. */
int server_run(Server *s);

/* Ends the tool by the signal that ended the process, if one did. */
void server_repeat_signal(const Server *s);
