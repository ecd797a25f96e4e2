/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whoever closes the last descriptor of a TCP connection waits as long as SO_LINGER says, for a peer that
 * need not read, even if it is non-blocking. The option belongs to the connection, so that a client to whom
 * we have given a copy can set it, close its own, and make us wait, for hours and with everybody else.
 * close(2) and socket(7) do not say it; the kernel's inet_release() and sk_stream_wait_close() do.
 */

/* To be called once, before anything is closed; without it there is no limit. */
int linger_init(void);

/* Before a connection is closed that somebody else has, or had, a copy of: nobody is waited for. What was
 * written is sent all the same. */
void linger_disable(int fd);

/* Before anything is closed that others may have turned it on for since: what is closed from here on waits
 * for a moment at the most, as a signal ends such a wait, until linger_limit_end(). */
void linger_limit_begin(void);

/* To be called when everything that was to be closed is: when the loop waits again. */
void linger_limit_end(void);
