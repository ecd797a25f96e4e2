/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listeners as the service describes them. Their strings come from other programs, and are escaped before
 * they reach a terminal. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/service/field.h"

typedef struct Listener {
        char *path;
        char *local_address;
        uint16_t local_port;
        uint32_t backlog;
        char *binary_type;
        char *delivery;
        char *name;
        int persistent; /* sd-bus reads booleans as int */
        uint32_t owner_uid;
        char *owner;
        int paused;
        uint64_t accepted;
        uint64_t delivered;
        uint64_t refused;
        uint64_t lost;
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

/* With the path and the number; NULL if memory runs out. */
json_object *listener_to_json(const Listener *l);

void listener_done(Listener *l);
void listeners_done(Listeners *l);
