/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Asks the service for its properties and for its listeners. Each function that returns an int prints an
 * error message when it fails, unless it says otherwise. */

#include <json-c/json.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "ctl/cli/context.h"
#include "ctl/service/listener.h"

typedef struct ServiceStatus {
        char *version;
        char *owner; /* the unique name of its connection to the bus */
        pid_t pid;   /* 0: unknown */
        uid_t uid;
        int contained;
        uint32_t max_listeners;
        uint32_t max_listeners_per_user;
        uint32_t max_channels;
        uint32_t max_channels_per_user;
        uint32_t max_pending_requests_per_user;
        uint32_t max_unacknowledged;
        uint32_t max_unacknowledged_per_client;
        uint64_t idle_timeout_usec; /* UINT64_MAX: never */
        int allow_socket_delivery;
        int require_containment;
        json_object *allowed_ports;     /* an array of "80", "1024-65535" */
        json_object *allowed_addresses; /* an array of strings */
} ServiceStatus;

/* Those of its properties that are a number or a boolean. */
extern const Field service_limits[];
extern const size_t n_service_limits;

/* Starts the service if it does not run. */
int query_status(Context *c, ServiceStatus *ret);
void service_status_done(ServiceStatus *s);

/* All listeners that the caller may see, by number. */
int query_listeners(Context *c, Listeners *ret);
int query_listener(Context *c, const char *path, Listener *ret);

/* The same without an error message. */
int query_listener_quietly(Context *c, const char *path, Listener *ret);

/* Looks up the user and the process of the owner. Returns 0, or -ENOMEM without an error message. */
int query_owner(Context *c, Listener *l);

/* Turns a number, a path, or the name of exactly one listener into a path. */
int query_path(Context *c, const char *text, char **ret);

/* The same without an error message, and without starting the service. */
int query_listeners_quietly(Context *c, Listeners *ret);
/* The same without waiting: the handler passes the reply to query_listeners_finish(). */
int query_listeners_start(Context *c, sd_bus_message_handler_t handler, void *userdata, sd_bus_slot **ret);
int query_listeners_finish(sd_bus_message *reply, Listeners *ret);
