/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Messages about the processes of COMMAND of "listen --accept" and "--inetd".
 *
 * With --verbose, each start and each end. Without it, the processes that fail: the first one at once, and
 * further ones at most once a minute, with their number.
 */

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/address.h"

/* The size of the text for a peer. */
#define EXIT_LOG_PEER_MAX (ADDRESS_STRING_MAX + 64)

typedef struct ExitLog ExitLog;

/* Returns 0 or a negative errno, without a message. */
int exit_log_new(sd_event *event, ExitLog **ret);
/* Prints the failures that were only counted. */
ExitLog *exit_log_free(ExitLog *log);

/* "192.0.2.1, port 4711". Returns the buffer. */
const char *exit_log_format_peer(const Address *peer, char buffer[static EXIT_LOG_PEER_MAX]);

/* what: the connection or the port that the process is for. */
void exit_log_add_start(ExitLog *log, pid_t pid, const char *what);
/* started_usec: on CLOCK_MONOTONIC. */
void exit_log_add_end(ExitLog *log, const siginfo_t *info, uint64_t started_usec, const char *what);

/* A failure is no news from now on, because the tool ends the processes by a signal. Prints the failures that
 * were only counted. */
void exit_log_finish(ExitLog *log);
