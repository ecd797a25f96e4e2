/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Signals that the tool gets and that are meant for the COMMANDs it runs. */

#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

/* Blocks them, and SIGCHLD, and calls the handler for each; but those that the tool was started to ignore, as
 * by nohup(1), stay ignored. */
int signals_add(sd_event *event, sd_event_signal_handler_t handler, void *userdata);

/* Whether it asks a program to end. */
bool signal_ends(int signal_number);

/* Passes it on, unless the process has it already: what is typed on a terminal goes to all of a process
 * group. */
void signal_forward(const struct signalfd_siginfo *info, pid_t pid);

/* When it was passed on: if it is one that stops a job, stops the tool itself until it is continued. */
void signal_stop(const struct signalfd_siginfo *info);

/* Ends the tool as if it had never caught the signal, so that whoever waits for it sees what has ended it. */
_Noreturn void signal_end_self(int signal_number);
