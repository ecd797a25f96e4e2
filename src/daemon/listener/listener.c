/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>

#include "base/i18n.h"
#include "base/log.h"
#include "base/message-ids.h"
#include "daemon/delivery/delivery-channel.h"
#include "daemon/delivery/delivery-socket.h"
#include "daemon/delivery/delivery.h"
#include "daemon/listener/listener.h"
#include "daemon/policy/options.h"
#include "daemon/store/store.h"

/* socketserver, of Python, looks twice a second whether it is to stop. */
#define GRACE_USEC (UINT64_C(1) * 1000 * 1000)

const char *listener_end_to_string(ListenerEnd end) {
        static const char *const names[_LISTENER_END_MAX] = {
                [LISTENER_END_OWNER] = "owner",
                [LISTENER_END_LIFELINE] = "lifeline",
                [LISTENER_END_ADMINISTRATOR] = "administrator",
                [LISTENER_END_INTERFACE] = "interface",
                [LISTENER_END_LOGOUT] = "logout",
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
        l->slot->rejected = l->rejected;
        l->slot->lost = l->lost;
        l->slot->flags = (l->paused ? STATE_PAUSED : 0) |
                         (l->delivery->holder != DELIVERY_HOLDER_NONE ? STATE_TAKEN : 0) |
                         (l->delivery->holder == DELIVERY_HOLDER_OWNER ? STATE_OWNERS : 0) |
                         (l->state == LISTENER_UNANNOUNCED ? STATE_UNANNOUNCED : 0) |
                         (l->lifeline.is_sent ? STATE_LIFELINE_SENT : 0) |
                         (l->logout != LISTENER_LOGOUT_STAYS ? STATE_ENDS_AT_LOGOUT : 0) |
                         (l->logout == LISTENER_LOGOUT_TO_ASK || l->logout == LISTENER_LOGOUT_ASKED
                                          ? STATE_LOGOUT_UNKNOWN
                                          : 0);
        l->slot->end = l->state == LISTENER_CLOSING ? (uint32_t) l->end + 1 : 0;
}

void listener_save_owner(Listener *l, const char *name) {
        if (l->slot)
                state_write_owner(l->slot, name ?: "");
}

void listener_save_interface(Listener *l) {
        if (l->slot)
                (void) snprintf(l->slot->interface, sizeof(l->slot->interface), "%s", l->interface.name);
}

void listener_set_announced(Listener *l) {
        l->state = LISTENER_OPEN;
        listener_save_state(l);
}

const char *listener_format_address(const Listener *l, char buffer[static ADDRESS_STRING_MAX]) {
        return address_format_on(&l->address, l->options->interface, buffer);
}

LogFields listener_log_fields(const Listener *l) {
        return (LogFields) {
                .listener = l->path,
                .owner = l->owner_name,
                .has_owner_uid = true,
                .owner_uid = l->uid,
                .port = address_get_port(&l->address),
                .interface = l->options ? l->options->interface : NULL,
        };
}

LogFields listener_log_all_fields(const Listener *l, char address[static ADDRESS_STRING_MAX]) {
        LogFields fields = listener_log_fields(l);

        fields.owner_pid = l->pid;
        fields.address = listener_format_address(l, address);
        fields.interface = l->options->interface ?: "";
        fields.delivery = delivery_kind_to_string(l->options->delivery);
        fields.persistent = l->options->persistent;
        return fields;
}

void listener_raise(Listener *l,
                    const char *message_id,
                    const char *peer,
                    const char *file,
                    uint32_t line,
                    int r,
                    ErrorId id,
                    ...) {
        _cleanup_free_ char *text = NULL, *message = NULL;
        _cleanup_(error_done) Error error = {};
        LogFields fields = listener_log_fields(l);
        va_list arguments;

        va_start(arguments, id);
        (void) error_setv(&error, r, id, arguments);
        va_end(arguments);

        if (error_is_set(&error)) {
                text = error_format(&error, error.info->text);
                message = error_to_message(&error);
        }

        fields.peer = peer;
        log_event_at(LOG_WARNING, message_id, file, (int) line, &fields, "%s of user %u: %s", l->path,
                     (unsigned) l->uid, text ?: error_describe_errno(ENOMEM));
        l->events->error(l,
                         &(ListenerError) {
                                         .message = message ?: error_describe_errno(ENOMEM),
                                         .file = file,
                                         .line = line,
                         },
                         l->userdata);
}

/* The errors that the deliveries and listener_close() use say nothing to a reader of the log. The tool
 * translates the result. */
static const char *lost_reason(int error) {
        switch (error) {

        case EOWNERDEAD:
                return N_("its client left the bus");

        case ECONNABORTED:
                return N_("its listener was closed");

        case ESHUTDOWN:
                return N_("the service stops");

        case EPIPE:
                return N_("its client closed the channel");

        case EACCES:
                return N_("the bus refused its message");

        default:
                return error_describe_errno(error);
        }
}

void listener_count_lost(Listener *l, const Address *peer, int error) {
        char address[ADDRESS_STRING_MAX];

        l->lost++;
        listener_save_state(l);

        if (!peer) {
                listener_error(l, MESSAGE_CONNECTION_LOST_STR, NULL, 0, ERROR_CONNECTION_LOST_AT_RESTART,
                               lost_reason(error));
                return;
        }

        (void) address_format(peer, address);
        listener_error(l, MESSAGE_CONNECTION_LOST_STR, address, 0, ERROR_CONNECTION_LOST, address,
                       (unsigned) address_get_port(peer), lost_reason(error));
}

static void listener_revoke(Listener *l) {
        LogFields fields = listener_log_fields(l);
        int r;

        if (l->fd < 0)
                return;

        r = delivery_socket_revoke(l->delivery, l->fd);
        if (r < 0)
                log_event(LOG_WARNING, NULL, &fields,
                          "Failed to revoke the socket of %s (user %u), its holder can keep the port: %s",
                          l->path, (unsigned) l->uid, strerror(-r));
}

void listener_free_port(Listener *l) {
        l->accept_source = sd_event_source_disable_unref(l->accept_source);
        l->hold_timer = sd_event_source_disable_unref(l->hold_timer);
        l->stall_timer = sd_event_source_disable_unref(l->stall_timer);
        l->grace_timer = sd_event_source_disable_unref(l->grace_timer);
        l->fd = close_fd(l->fd);
        interface_use_end(&l->interface);
        lifeline_close(&l->lifeline);
        if (l->slot)
                store_drop_listener(l->store, l->slot, l->saved);
        l->slot = NULL;
        l->saved = NULL;
}

/* Reports connections that the client will not get. A client that closes its own listener gives them up, and
 * those in a message on the bus may still arrive, except when the service stops. */
static void listener_lose_connections(Listener *l, ListenerEnd end) {
        switch (end) {

        case LISTENER_END_OWNER:
        case LISTENER_END_LIFELINE:
                break;

        case LISTENER_END_SHUTDOWN:
                delivery_channel_count(l->delivery);
                delivery_lose_waiting(l->delivery, ESHUTDOWN);
                delivery_lose_sent(l->delivery, ESHUTDOWN);
                break;

        default:
                delivery_lose_waiting(l->delivery, ECONNABORTED);
                break;
        }
}

void listener_close_now(Listener *l, ListenerEnd end) {
        LogFields fields = listener_log_fields(l);
        bool reported = l->grace_timer;

        assert(l->delivery);

        listener_lose_connections(l, end);
        log_event(LOG_DEBUG, NULL, &fields, "Closing %s of user %u (%s), with %u unconfirmed connections",
                  l->path, (unsigned) l->uid, listener_end_to_string(end),
                  (unsigned) delivery_get_in_flight(l->delivery));

        listener_revoke(l);
        listener_free_port(l);
        if (!reported)
                l->events->closed(l, end, l->userdata);
        l->events->freed(l, l->userdata);
        (void) listener_free(l);
}

static int on_grace_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Listener *l = userdata;

        listener_close_now(l, l->end);
        return 0;
}

void listener_resume_closing(Listener *l) {
        LogFields fields = listener_log_fields(l);
        int r;

        assert(l->state == LISTENER_CLOSING && !l->grace_timer);

        r = sd_event_add_time_relative(l->event, &l->grace_timer, CLOCK_MONOTONIC, GRACE_USEC, 0,
                                       on_grace_over, l);
        if (r < 0) {
                log_event(LOG_WARNING, NULL, &fields,
                          "Failed to set a timer for %s, revoking its socket at once: %s", l->path,
                          strerror(-r));
                listener_close_now(l, l->end);
                return;
        }

        lifeline_close(&l->lifeline);
        log_event(LOG_DEBUG, NULL, &fields, "Closing %s of user %u (%s), revoking its socket in %u ms",
                  l->path, (unsigned) l->uid, listener_end_to_string(l->end), (unsigned) (GRACE_USEC / 1000));
        l->events->closed(l, l->end, l->userdata);
}

void listener_close(Listener *l, ListenerEnd end) {
        if (l->state == LISTENER_CLOSING)
                return;

        if (!l->delivery->has_owner || !delivery_socket_is_taken(l->delivery)) {
                listener_close_now(l, end);
                return;
        }

        /* Saved before the report: the next process must not continue a listener that the owner knows as
         * closed. */
        l->state = LISTENER_CLOSING;
        l->end = end;
        listener_save_state(l);
        listener_resume_closing(l);
}

void listener_lose_interface(Listener *l) {
        if (l->state == LISTENER_CLOSING)
                return;

        listener_error(l, MESSAGE_INTERFACE_GONE_STR, NULL, 0, ERROR_INTERFACE_GONE, l->options->interface);
        listener_close(l, LISTENER_END_INTERFACE);
}

Listener *listener_free(Listener *l) {
        if (!l)
                return NULL;

        listener_free_port(l);
        if (l->delivery)
                (void) l->delivery->ops->free(l->delivery);
        user_discharge(&l->charge);
        user_discharge(&l->channel_charge);
        (void) listen_options_free(l->options);
        sd_event_unref(l->event);
        free(l->path);
        free(l);
        return NULL;
}
