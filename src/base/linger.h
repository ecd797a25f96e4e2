/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Protection against SO_LINGER.
 *
 * close() of the last descriptor of a TCP connection blocks for the time set with SO_LINGER while the peer
 * does not read, even if the descriptor is non-blocking: see the kernel's inet_release() and
 * sk_stream_wait_close(). All copies of a descriptor share the option. A client could therefore set it on its
 * copy and block the service for hours.
 */

/* Installs the handler of SIGALRM that linger_limit_begin() needs. To be called once. */
int linger_init(void);

/* Turns SO_LINGER off. To be called before a connection is closed of which a client has, or had, a copy. The
 * kernel still sends the data that was written. */
void linger_disable(int fd);

/* Limits the time that each close() blocks to about 10 ms, until linger_limit_end(): a timer signal
 * interrupts it. For descriptors on which a client may set SO_LINGER after linger_disable(). */
void linger_limit_begin(void);

/* To be called before the event loop waits again. */
void linger_limit_end(void);
