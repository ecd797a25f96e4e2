/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "ctl/service/field.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"

int field_read_dict(sd_bus_message *m, DictHandler handler, void *userdata) {
        const char *key, *contents;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &key);
                if (r >= 0)
                        r = sd_bus_message_peek_type(m, NULL, &contents);
                if (r >= 0)
                        r = handler(m, key, contents, userdata);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_value(sd_bus_message *m, char type, void *to) {
        const char *s;
        char *copy;
        int r;

        if (type != 's')
                return sd_bus_message_read_basic(m, type, to);

        r = sd_bus_message_read_basic(m, 's', &s);
        if (r < 0)
                return r;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        free(*(char **) to);
        *(char **) to = copy;
        return 0;
}

int field_read(sd_bus_message *m,
               const char *property,
               const char *contents,
               const Field *fields,
               size_t n_fields,
               void *object) {
        int r;

        for (const Field *field = fields; field < fields + n_fields; field++) {
                if (!streq(field->property, property) || !streq(contents, (char[]) { field->type, '\0' }))
                        continue;

                r = sd_bus_message_enter_container(m, 'v', contents);
                if (r >= 0)
                        r = read_value(m, field->type, (char *) object + field->offset);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                return r;
        }

        return sd_bus_message_skip(m, "v");
}

static uint64_t get_number(const Field *field, const void *object) {
        const void *value = (const char *) object + field->offset;

        switch (field->type) {

        case 'q':
                return *(const uint16_t *) value;

        case 'u':
                return *(const uint32_t *) value;

        case 'b':
                return (uint64_t) * (const int *) value;

        default:
                assert(field->type == 't');
                return *(const uint64_t *) value;
        }
}

static const char *get_string(const Field *field, const void *object) {
        const void *value = (const char *) object + field->offset;

        return *(char *const *) value ?: "";
}

char *field_format(const Field *field, const void *object) {
        char *text;

        if (field->type == 's')
                return strdup(get_string(field, object));
        if (field->type == 'b')
                return strdup(get_number(field, object) ? "yes" : "no");

        return asprintf(&text, "%" PRIu64, get_number(field, object)) < 0 ? NULL : text;
}

json_object *field_to_json(const Field *field, const void *object) {
        if (field->type == 's')
                return json_object_new_string(get_string(field, object));
        if (field->type == 'b')
                return json_object_new_boolean(get_number(field, object) != 0);

        return json_object_new_uint64(get_number(field, object));
}
