/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * When a listener accepts, and when it lets the kernel's queue hold what comes.
 *
 * It does not accept while it is paused, while its delivery has no room, faster than its rate, and for a
 * while after the service has run out of descriptors or memory. Whatever ends one of these calls
 * listener_serve().
 */

typedef struct Listener Listener;

/* The event source, off until there is something to accept for. */
int listener_add_accept_source(Listener *l);

/* Accepts and hands over what it may now, and sees to it that it is woken up for the rest. May close the
 * listener. */
void listener_serve(Listener *l);
