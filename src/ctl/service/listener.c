/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/macros.h"
#include "ctl/service/listener.h"
#include "ctl/show/json.h"

const Field listener_fields[] = {
        FIELD("LocalAddress", "localAddress", 's', Listener, local_address),
        FIELD("LocalPort", "localPort", 'q', Listener, local_port),
        FIELD("Backlog", "backlog", 'u', Listener, backlog),
        FIELD("BinaryType", "binaryType", 's', Listener, binary_type),
        FIELD("Delivery", "delivery", 's', Listener, delivery),
        FIELD("Name", "name", 's', Listener, name),
        FIELD("Persistent", "persistent", 'b', Listener, persistent),
        FIELD("OwnerUID", "ownerUID", 'u', Listener, owner_uid),
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

json_object *listener_to_json(const Listener *l) {
        json_object *o = json_object_new_object();
        int r;

        r = json_add_number(o, "listener", strtoull(listener_get_number(l->path), NULL, 10))
                            ?: json_add_string(o, "path", l->path);
        for (size_t i = 0; r == 0 && i < ELEMENTS(listener_fields); i++)
                r = json_add(o, listener_fields[i].key, field_to_json(listener_fields + i, l));
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
