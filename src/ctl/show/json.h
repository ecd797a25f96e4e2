/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The output of --json=. */

#include <json-c/json.h>

#include "ctl/cli/context.h"

/* Adds a member and consumes the value. Returns -ENOMEM if either is NULL or memory runs out. */
int json_add(json_object *o, const char *key, json_object *value);
/* The same at the end of an array. */
int json_append(json_object *array, json_object *value);

int json_add_string(json_object *o, const char *key, const char *value);
int json_add_number(json_object *o, const char *key, uint64_t value);
int json_add_null(json_object *o, const char *key);
/* A string, or null if the value is NULL. */
int json_add_optional(json_object *o, const char *key, const char *value);

/* Returns one line, or several for --json=pretty, with all control characters escaped: a new string, or NULL
 * if memory runs out. */
char *json_format(const json_object *o, JsonFormat format);

/* Prints and consumes the object; if it is NULL, reports that memory has run out. */
int json_print(const Context *c, json_object *o);
