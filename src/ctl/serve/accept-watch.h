/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tells that COMMAND does not accept on a port, where peers otherwise wait in silence.
 *
 * Each port is watched until its first connection, and then for five seconds: if COMMAND has not accepted one
 * by then, a message is printed. Afterwards the port is not watched any more, so that neither an idle nor a
 * busy server wakes the tool.
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct AcceptWatch AcceptWatch;

/* binds: COMMAND has bound its ports itself, so that the message has other advice. Returns 0 or a negative
 * errno, without a message, as the next function. */
int accept_watch_new(sd_event *event, bool binds, AcceptWatch **ret);
AcceptWatch *accept_watch_free(AcceptWatch *w);

/* Watches a listening socket, which is borrowed, until it is removed or the watch is freed. */
int accept_watch_add(AcceptWatch *w, int fd, uint16_t port);
void accept_watch_remove(AcceptWatch *w, int fd);
