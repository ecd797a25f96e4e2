/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/log.h"
#include "base/macros.h"
#include "daemon/bus-error.h"
#include "daemon/call-bus.h"
#include "daemon/client.h"
#include "daemon/manager.h"

static Call *call_free(Call *call) {
        if (!call)
                return NULL;

        if (call->slot) {
                TAILQ_REMOVE(&call->queue->calls, call, link);
                sd_bus_slot_unref(call->slot);
        }
        if (call->free_data)
                call->free_data(call->data);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

DEFINE_CLEANUP(Call, call_free)
#define _cleanup_call_ _cleanup_(call_freep)

void call_queue_init(CallQueue *queue, sd_bus *bus, Manager *manager) {
        *queue = (CallQueue) { .bus = bus, .manager = manager };
        TAILQ_INIT(&queue->calls);
}

void call_queue_done(CallQueue *queue) {
        Call *call;

        while ((call = TAILQ_FIRST(&queue->calls)))
                (void) call_free(call);
}

void call_queue_cancel(CallQueue *queue, const char *sender) {
        Call *call, *next;

        for (call = TAILQ_FIRST(&queue->calls); call; call = next) {
                next = TAILQ_NEXT(call, link);
                if (streq(sd_bus_message_get_sender(call->message), sender))
                        (void) call_free(call);
        }
}

static int call_reply_error(Call *call, int r, sd_bus_error *error) {
        if (!sd_bus_error_is_set(error))
                (void) bus_error_from_errno(error, r, "The call failed: %s", strerror(-r));

        r = sd_bus_reply_method_error(call->message, error);
        if (r < 0)
                log_warning("Cannot reply to %s: %s", sd_bus_message_get_sender(call->message), strerror(-r));

        return 1;
}

static int call_check_action(Call *call, sd_bus_error *error) {
        uid_t uid = call->client->uid;

        if (call->action == CALL_ANYBODY || uid == 0 || uid == geteuid())
                return 0;

        return bus_error_from_errno(error, -EACCES, "User %u is not allowed to listen", (unsigned) uid);
}

/* The caller is known. */
static int call_run(Call *call) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = call_check_action(call, &error);
        if (r >= 0)
                r = call->handler(call, &error);
        if (r < 0)
                return call_reply_error(call, r, &error);

        return 1;
}

static bool answer_is_the_drivers(sd_bus_message *answer) {
        const char *sender = sd_bus_message_get_sender(answer);

        return sender && streq(sender, "org.freedesktop.DBus");
}

static int on_identity(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        _cleanup_call_ Call *call = userdata;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Manager *manager = call->manager;
        uint32_t uid;
        int r;

        /* A client that has left took its calls with it. */
        call->client = manager_find_client(manager, sd_bus_message_get_sender(call->message));
        call->client->n_calls--;

        r = sd_bus_message_is_method_error(answer, NULL) || !answer_is_the_drivers(answer) ? -EACCES : sd_bus_message_read_basic(answer, 'u', &uid);
        if (r < 0) {
                if (!call->client->identified && call->client->n_calls == 0)
                        manager_remove_client(manager, call->client);
                (void) bus_error_from_errno(&error, -EACCES, "The bus does not say who the caller is");
                (void) call_reply_error(call, -EACCES, &error);
                return 0;
        }

        call->client->uid = uid;
        call->client->identified = true;
        (void) call_run(call);
        return 0;
}

static int call_identify(Call *call, sd_bus_error *error) {
        CallQueue *queue = call->queue;
        uint32_t limit = call->manager->limits.pending_requests_per_user;
        int r;

        if (call->client->n_calls >= limit)
                return bus_error_from_errno(error, -EDQUOT,
                                            "The caller has too many calls under way; "
                                            "the limit MaxPendingRequestsPerUser is %u", limit);

        r = sd_bus_call_method_async(queue->bus, &call->slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "GetConnectionUnixUser", on_identity, call,
                                     "s", call->client->name);
        if (r < 0)
                return r;

        call->client->n_calls++;
        TAILQ_INSERT_TAIL(&queue->calls, call, link);
        return 0;
}

int call_start(CallQueue *queue,
               sd_bus_message *message,
               CallAction action,
               CallHandler handler,
               void *data,
               CallDataFree free_data) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_call_ Call *call = NULL;
        int r;

        call = malloc(sizeof(*call));
        if (!call) {
                if (free_data)
                        free_data(data);
                return -ENOMEM;
        }

        *call = (Call) {
                .queue = queue,
                .manager = queue->manager,
                .message = sd_bus_message_ref(message),
                .action = action,
                .handler = handler,
                .data = data,
                .free_data = free_data,
        };

        r = manager_acquire_client(queue->manager, sd_bus_message_get_sender(message), &call->client);
        if (r < 0)
                return call_reply_error(call, r, &error);

        /* Calls keep their order: none overtakes another that still waits for the caller to be identified. */
        if (call->client->identified && call->client->n_calls == 0)
                return call_run(call);

        r = call_identify(call, &error);
        if (r < 0)
                return call_reply_error(call, r, &error);

        call = NULL; /* waits in the queue */
        return 1;
}
