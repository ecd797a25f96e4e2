/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/message-ids.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener.h"

const char *listener_end_to_string(ListenerEnd end) {
        static const char *const names[] = {
                [LISTENER_END_OWNER] = "owner",
                [LISTENER_END_LIFETIME] = "lifetime",
                [LISTENER_END_ADMINISTRATOR] = "administrator",
                [LISTENER_END_ERROR] = "error",
                [LISTENER_END_SHUTDOWN] = "shutdown",
        };

        return names[end];
}

void listener_save_state(Listener *l) {
        if (!l->slot)
                return;

        l->slot->accepted = l->accepted;
        l->slot->delivered = l->delivered;
        l->slot->refused = l->refused;
        l->slot->lost = l->lost;
        l->slot->flags = (l->paused ? STATE_PAUSED : 0) | (l->delivery->taken ? STATE_TAKEN : 0) |
                         (l->delivery->taken_by_owner ? STATE_OWNERS : 0) |
                         (l->unannounced ? STATE_UNANNOUNCED : 0);
}

void listener_save_owner(Listener *l, const char *name) {
        if (l->slot)
                state_write_owner(l->slot, name ?: "");
}

void listener_set_announced(Listener *l) {
        l->unannounced = false;
        listener_save_state(l);
}

LogFields listener_log_fields(const Listener *l) {
        return (LogFields) {
                .listener = l->path,
                .owner = l->owner_name,
                .has_owner_uid = true,
                .owner_uid = l->uid,
                .port = address_get_port(&l->address),
        };
}

void listener_raise(Listener *l,
                    const char *message_id,
                    const char *peer,
                    const char *file,
                    uint32_t line,
                    const char *format,
                    ...) {
        LogFields fields = listener_log_fields(l);
        char message[512];
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(message, sizeof(message), format, arguments);
        va_end(arguments);

        fields.peer = peer;
        log_event_at(LOG_WARNING, message_id, file, (int) line, &fields, "%s of user %u: %s", l->path,
                     (unsigned) l->uid, message);
        l->events->error(l, &(ListenerError) { .message = message, .file = file, .line = line }, l->userdata);
}

void listener_count_lost(Listener *l, const Address *peer, int error) {
        char address[ADDRESS_STRING_MAX];

        l->lost++;
        listener_save_state(l);

        if (!peer) {
                listener_error(l, MESSAGE_CONNECTION_LOST_STR, NULL,
                               "A connection that was accepted before the service was restarted is lost: %s",
                               strerror(error));
                return;
        }

        (void) address_format(peer, address);
        listener_error(l, MESSAGE_CONNECTION_LOST_STR, address, "The connection from %s port %u is lost: %s",
                       address, address_get_port(peer), strerror(error));
}
