/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <inttypes.h>
#include <stdio.h>

#include "base/macros.h"
#include "ctl/service/listener.h"
#include "ctl/show/json.h"

#define FIELD(property, key, type, member) \
        { property, key, type, offsetof(Listener, member) }

const ListenerField listener_fields[] = {
        FIELD("LocalAddress", "localAddress", 's', local_address),
        FIELD("LocalPort", "localPort", 'q', local_port),
        FIELD("Backlog", "backlog", 'u', backlog),
        FIELD("BinaryType", "binaryType", 's', binary_type),
        FIELD("Delivery", "delivery", 's', delivery),
        FIELD("Name", "name", 's', name),
        FIELD("Persistent", "persistent", 'b', persistent),
        FIELD("OwnerUID", "ownerUID", 'u', owner_uid),
        FIELD("Owner", "owner", 's', owner),
        FIELD("Paused", "paused", 'b', paused),
        FIELD("Accepted", "accepted", 't', accepted),
        FIELD("Delivered", "delivered", 't', delivered),
        FIELD("Refused", "refused", 't', refused),
        FIELD("Lost", "lost", 't', lost),
};

const size_t n_listener_fields = ELEMENTS(listener_fields);

const char *listener_get_number(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash && slash[1] != '\0' ? slash + 1 : "?";
}

bool listener_is_orphaned(const Listener *l) {
        return l->persistent && (!l->owner || *l->owner == '\0');
}

static uint64_t get_number(const Listener *l, const ListenerField *field) {
        const void *value = (const char *) l + field->offset;

        switch (field->type) {

        case 'q':
                return *(const uint16_t *) value;

        case 'u':
                return *(const uint32_t *) value;

        case 'b':
                return (uint64_t) * (const int *) value;

        default:
                return *(const uint64_t *) value;
        }
}

static const char *get_string(const Listener *l, const ListenerField *field) {
        const void *value = (const char *) l + field->offset;

        return *(char *const *) value ?: "";
}

char *listener_format_field(const Listener *l, const ListenerField *field) {
        char *text;

        if (field->type == 's')
                return strdup(get_string(l, field));
        if (field->type == 'b')
                return strdup(get_number(l, field) ? "yes" : "no");

        return asprintf(&text, "%" PRIu64, get_number(l, field)) < 0 ? NULL : text;
}

static json_object *field_to_json(const Listener *l, const ListenerField *field) {
        if (field->type == 's')
                return json_object_new_string(get_string(l, field));
        if (field->type == 'b')
                return json_object_new_boolean(get_number(l, field) != 0);

        return json_object_new_uint64(get_number(l, field));
}

json_object *listener_to_json(const Listener *l) {
        json_object *o = json_object_new_object();
        int r;

        r = json_add(o, "listener", json_object_new_uint64(strtoull(listener_get_number(l->path), NULL, 10)));
        if (r == 0)
                r = json_add(o, "path", json_object_new_string(l->path));
        for (size_t i = 0; r == 0 && i < ELEMENTS(listener_fields); i++)
                r = json_add(o, listener_fields[i].key, field_to_json(l, listener_fields + i));
        if (r < 0) {
                json_object_put(o);
                return NULL;
        }

        return o;
}

void listener_done(Listener *l) {
        free(TAKE_PTR(l->path));
        free(TAKE_PTR(l->local_address));
        free(TAKE_PTR(l->binary_type));
        free(TAKE_PTR(l->delivery));
        free(TAKE_PTR(l->name));
        free(TAKE_PTR(l->owner));
}

void listeners_done(Listeners *l) {
        for (size_t i = 0; i < l->n; i++)
                listener_done(l->items + i);
        free(TAKE_PTR(l->items));
        l->n = 0;
}
