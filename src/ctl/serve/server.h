/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one process of COMMAND of "listen" and "run". The tool gives it its signals, and ends with its status.
 * The functions that return an int print an error message when it is negative. */

#include <systemd/sd-event.h>

#include "ctl/serve/command.h"

typedef struct Server Server;

/* Catches the signals of the tool from now on. The command is borrowed. */
int server_new(const Command *command, Server **ret);
Server *server_free(Server *s);

/* The event loop of the tool, which ends with the process. */
sd_event *server_get_event(Server *s);

/* Starts the process. */
int server_start(Server *s, const CommandInput *input);

/* The ports are lost, which COMMAND may not notice: ends the process, and server_run() then fails. Nothing is
 * printed. */
void server_lose(Server *s);

/* Runs the event loop until the process has ended. Returns its exit status, or 0 if a signal ended it. */
int server_run(Server *s);

/* Ends the tool by the signal that ended the process, if one did. */
void server_repeat_signal(const Server *s);
