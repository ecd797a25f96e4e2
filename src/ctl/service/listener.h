/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listeners as the service describes them. Their strings come from other programs, and are escaped before
 * they reach a terminal. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/service/field.h"
#include "ctl/service/process.h"

typedef struct Listener {
        char *path;
        char *local_address;
        uint16_t local_port;
        char *interface;
        uint32_t backlog;
        char *binary_type;
        char *delivery;
        char *name;
        int persistent; /* sd-bus reads booleans as int */
        uint32_t owner_uid;
        uint32_t owner_pid;
        char *owner;
        int paused;
        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;

        /* Set by query_owner(). */
        char *user;   /* NULL: the uid has no name */
        uint32_t pid; /* of its present owner; 0: it has none, or the bus does not know it */
        Process process;
} Listener;

typedef struct Listeners {
        Listener *items;
        size_t n;
} Listeners;

/* All properties. */
extern const Field listener_fields[];
extern const size_t n_listener_fields;

/* Returns the number at the end of the path of a listener, or "?". */
const char *listener_get_number(const char *path);

/* It has no owner, so the service accepts nothing. */
bool listener_is_orphaned(const Listener *l);

/* Its socket is with the client, which accepts the connections: the service cannot count them. */
bool listener_is_taken(const Listener *l);

/* As a new string, or NULL if memory runs out. A counter that the service cannot count is "-". */
char *listener_format(const Listener *l, const Field *field);

/* With the path, the number and the owner; NULL if memory runs out. */
json_object *listener_to_json(const Listener *l);

void listener_done(Listener *l);
void listeners_done(Listeners *l);
