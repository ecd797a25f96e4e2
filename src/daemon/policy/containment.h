/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether the service is contained: whether the BPF programs of tcpserversocket-guard(8) are attached to its
 * control group, and keep the sockets that it hands over from any use but that of their listener.
 */

#include <stdbool.h>

/* Finds out with sockets of its own, once at the start. Sends nothing to the network, and does not block. If
 * the service is not contained, *ret_reason is a text that says why. */
bool containment_probe(const char **ret_reason);

/* Whether a socket has a guard. One that was created without a guard never gets one: a restart of the service
 * gives new sockets another control group. */
bool containment_covers(int fd);
