/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How much of the service may be used, in all and by one user. */

#include <stdint.h>

typedef struct Limits {
        uint32_t listeners; /* in all */
        uint32_t listeners_per_user;
        uint32_t channels; /* open ones, in all */
        uint32_t channels_per_user;
        uint32_t pending_requests_per_user; /* calls whose caller is still being identified or authorized */
        uint32_t unacknowledged;            /* connections on the bus that nobody has confirmed yet, in all */
        uint32_t unacknowledged_per_client;
} Limits;

void limits_set_defaults(Limits *limits);
