/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the service tells about itself: its process, its limits, its restrictions. */

#include <json-c/json.h>
#include <stdint.h>
#include <sys/types.h>

#include "ctl/cli/context.h"

typedef struct ServiceStatus {
        char *version;
        char *owner; /* its connection to the bus */
        pid_t pid;   /* 0: not known */
        uid_t uid;
        uint32_t max_listeners;
        uint32_t max_listeners_per_user;
        uint32_t max_channels;
        uint32_t max_channels_per_user;
        uint32_t max_pending_requests_per_user;
        uint32_t max_unacknowledged;
        uint32_t max_unacknowledged_per_client;
        uint64_t idle_timeout_usec; /* UINT64_MAX: never */
        int allow_socket_delivery;
        json_object *allowed_ports;     /* an array of "80", "1024-65535" */
        json_object *allowed_addresses; /* an array of strings */
} ServiceStatus;

/* Starts the service if it does not run. Says what went wrong when it returns a negative errno. */
int query_status(Context *c, ServiceStatus *ret);
void service_status_done(ServiceStatus *s);
