/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Forwards the tool's signals to the processes of COMMAND. */

#include <stdbool.h>
#include <sys/signalfd.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

/* Blocks the signals to forward and SIGCHLD, and calls the handler for each. Signals that the tool was
 * started to ignore, as by nohup(1), stay ignored. */
int signals_add(sd_event *event, sd_event_signal_handler_t handler, void *userdata);

/* Whether the signal asks a program to end. */
bool signal_ends(int signal_number);
/* The same without SIGHUP, which asks many servers to read their configuration again. */
bool signal_ends_server(int signal_number);

/* Forwards the signal, unless the process got it, too: the terminal sends its signals to the whole process
 * group. */
void signal_forward(const struct signalfd_siginfo *info, pid_t pid);

/* To be called after the signal was forwarded: stops the tool itself if the signal stops a job. */
void signal_stop(const struct signalfd_siginfo *info);

/* Ends the tool by the signal, for the parent process to see it in the status. */
_Noreturn void signal_end_self(int signal_number);
