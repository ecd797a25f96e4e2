/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What --json= writes. */

#include <json-c/json.h>

#include "ctl/cli/context.h"

/* Adds a member and takes the value over; -ENOMEM if either is NULL, or memory runs out. */
int json_add(json_object *o, const char *key, json_object *value);
/* The same for the end of an array. */
int json_append(json_object *array, json_object *value);

/* Adds a member with a value of these types; 's', 't' or 'b'. */
int json_add_string(json_object *o, const char *key, const char *value);
int json_add_number(json_object *o, const char *key, uint64_t value);

/* One line, or several for --json=pretty, and nothing in it that a terminal could take for a command. The
 * caller frees it; NULL if memory runs out. */
char *json_format(const json_object *o, JsonFormat format);

/* Writes it to standard output and frees it; NULL means that memory has run out. */
int json_print(const Context *c, json_object *o);
