/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "ctl/service/listener.h"
#include "ctl/show/json.h"

const Field listener_fields[] = {
        FIELD("LocalAddress", "localAddress", 's', Listener, local_address),
        FIELD("LocalPort", "localPort", 'q', Listener, local_port),
        FIELD("Interface", "interface", 's', Listener, interface),
        FIELD("Backlog", "backlog", 'u', Listener, backlog),
        FIELD("BinaryType", "binaryType", 's', Listener, binary_type),
        FIELD("Delivery", "delivery", 's', Listener, delivery),
        FIELD("Name", "name", 's', Listener, name),
        FIELD("Persistent", "persistent", 'b', Listener, persistent),
        FIELD("OwnerUID", "ownerUID", 'u', Listener, owner_uid),
        FIELD("OwnerPID", "ownerPID", 'u', Listener, owner_pid),
        FIELD("Owner", "owner", 's', Listener, owner),
        FIELD("Paused", "paused", 'b', Listener, paused),
        FIELD("Accepted", "accepted", 't', Listener, accepted),
        FIELD("Delivered", "delivered", 't', Listener, delivered),
        FIELD("Refused", "refused", 't', Listener, refused),
        FIELD("Lost", "lost", 't', Listener, lost),
};

const size_t n_listener_fields = ELEMENTS(listener_fields);

const char *listener_get_number(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash && slash[1] != '\0' ? slash + 1 : "?";
}

bool listener_is_orphaned(const Listener *l) {
        return l->persistent && (!l->owner || *l->owner == '\0');
}

bool listener_is_taken(const Listener *l) {
        return l->delivery && streq(l->delivery, "socket");
}

static bool is_counter(const Field *field) {
        return field->type == 't';
}

char *listener_format(const Listener *l, const Field *field) {
        return listener_is_taken(l) && is_counter(field) ? strdup("-") : field_format(field, l);
}

static int add_field(json_object *o, const Listener *l, const Field *field) {
        if (listener_is_taken(l) && is_counter(field))
                return json_add_null(o, field->key);

        return json_add(o, field->key, field_to_json(field, l));
}

static int add_owner(json_object *o, const Listener *l) {
        return json_add_optional(o, "user", l->user) ?:
               (l->pid > 0 ? json_add_number(o, "pid", l->pid) : json_add_null(o, "pid")) ?:
               json_add_optional(o, "command", l->process.command) ?:
               json_add_optional(o, "commandLine", l->process.command_line) ?: json_add_optional(o, "unit", l->process.unit) ?:
               json_add_optional(o, "application", l->process.application);
}

json_object *listener_to_json(const Listener *l) {
        json_object *o = json_object_new_object();
        int r;

        r = json_add_number(o, "listener", strtoull(listener_get_number(l->path), NULL, 10))
                            ?: json_add_string(o, "path", l->path);
        for (size_t i = 0; r == 0 && i < ELEMENTS(listener_fields); i++)
                r = add_field(o, l, listener_fields + i);
        if (r == 0)
                r = add_owner(o, l);
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
        free(TAKE_PTR(l->interface));
        free(TAKE_PTR(l->user));
        process_done(&l->process);
}

void listeners_done(Listeners *l) {
        for (size_t i = 0; i < l->n; i++)
                listener_done(l->items + i);
        free(TAKE_PTR(l->items));
        l->n = 0;
}
