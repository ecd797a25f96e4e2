/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

#include "base/macros.h"
#include "base/text.h"
#include "ctl/cli/message.h"
#include "ctl/show/json.h"
#include "ctl/show/pager.h"

int json_add(json_object *o, const char *key, json_object *value) {
        if (o && value && json_object_object_add(o, key, value) == 0)
                return 0;

        json_object_put(value);
        return -ENOMEM;
}

int json_append(json_object *array, json_object *value) {
        if (array && value && json_object_array_add(array, value) == 0)
                return 0;

        json_object_put(value);
        return -ENOMEM;
}

int json_add_string(json_object *o, const char *key, const char *value) {
        return json_add(o, key, json_object_new_string(value));
}

int json_add_number(json_object *o, const char *key, uint64_t value) {
        return json_add(o, key, json_object_new_uint64(value));
}

int json_add_null(json_object *o, const char *key) {
        return o && json_object_object_add(o, key, NULL) == 0 ? 0 : -ENOMEM;
}

int json_add_optional(json_object *o, const char *key, const char *value) {
        return value ? json_add_string(o, key, value) : json_add_null(o, key);
}

char *json_format(const json_object *o, JsonFormat format) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;
        const char *text;

        flags |= format == JSON_PRETTY ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
                                       : JSON_C_TO_STRING_PLAIN;
        text = json_object_to_json_string_ext((json_object *) o, flags);

        return text ? text_escape(text, TEXT_ESCAPE_JSON) : NULL;
}

int json_print(const Context *c, json_object *o) {
        _cleanup_free_ char *text = NULL;

        text = o ? json_format(o, c->json) : NULL;
        json_object_put(o);
        if (!text)
                return message_oom();

        pager_open(c);
        puts(text);
        return 0;
}
