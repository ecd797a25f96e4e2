/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/policy/limits.h"

void limits_set_defaults(Limits *limits) {
        *limits = (Limits) {
                .listeners = 16384,
                .listeners_per_user = 1024,
                /* Each may hold 64 connections that are not read yet, and the kernel allows a user, ours, as
                 * many in all channels as RLIMIT_NOFILE says. Beyond that nothing could be handed over to
                 * anybody. */
                .channels = 512,
                .channels_per_user = 64,
                .pending_requests_per_user = 64,
                /* dbus-daemon stops reading from a sender of whose descriptors 64 are not yet written to
                 * their receivers, on the system bus (max_incoming_unix_fds), and this service would stand
                 * still for everybody. */
                .unacknowledged = 56,
                .unacknowledged_per_client = 20,
        };
}
