/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* D-Bus properties as members of a struct: a table of them reads the struct from the bus and prints it. */

#include <json-c/json.h>
#include <stddef.h>
#include <systemd/sd-bus.h>

typedef struct Field {
        const char *property; /* on the bus, and for "show" */
        const char *key;      /* in JSON */
        char type; /* of D-Bus: 's' as a char * that the struct owns, 'b' as an int, 'q', 'u', 't' */
        size_t offset;
} Field;

#define FIELD(property, key, type, object, member) \
        { property, key, type, offsetof(object, member) }

/* Reads one entry of a dictionary: m stands at a variant of the type contents and must be moved past it. */
typedef int (*DictHandler)(sd_bus_message *m, const char *key, const char *contents, void *userdata);

/* Reads "a{sv}". Returns 0 or a negative errno. */
int field_read_dict(sd_bus_message *m, DictHandler handler, void *userdata);

/* Reads the variant of a property into the struct; skips it if the table does not have it, or not with this
 * type. */
int field_read(sd_bus_message *m,
               const char *property,
               const char *contents,
               const Field *fields,
               size_t n_fields,
               void *object);

/* A new string, or NULL if memory runs out. */
char *field_format(const Field *field, const void *object);
/* NULL if memory runs out. */
json_object *field_to_json(const Field *field, const void *object);
