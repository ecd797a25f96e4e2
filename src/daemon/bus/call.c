/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <assert.h>
#include <systemd/sd-event.h>

#include "base/log.h"
#include "base/macros.h"
#include "base/message-ids.h"
#include "daemon/bus/call.h"
#include "daemon/core/client.h"
#include "daemon/core/manager.h"
#include "daemon/outbox/bus-driver.h"
#include "daemon/outbox/error-reply.h"
#include "daemon/outbox/outbox.h"

static Call *call_free(Call *call) {
        if (!call)
                return NULL;

        if (call->is_queued)
                TAILQ_REMOVE(&call->queue->calls, call, link);
        sd_bus_slot_unref(call->slot);
        waiter_stop(&call->waiter);
        sd_event_source_disable_unref(call->timer);
        (void) unit_question_forget(call->unit);
        (void) polkit_query_free(call->query);
        user_discharge(&call->charge);
        if (call->method->free_data && call->data)
                call->method->free_data(call->data);
        error_done(&call->error);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

DEFINE_CLEANUP(Call, call_free)
#define _cleanup_call_ _cleanup_(call_freep)

/* Until the bus has room for the descriptor that shows whether the caller takes them. */
#define SUPPORT_USEC (UINT64_C(5) * 1000 * 1000)

/* Until systemd answers, or the unit remains unknown. */
#define UNIT_USEC (UINT64_C(1) * 1000 * 1000)

static void call_enqueue(Call *call) {
        assert(!call->is_queued);

        TAILQ_INSERT_TAIL(&call->queue->calls, call, link);
        call->is_queued = true;
}

/* Takes the call out of the queue when a question is answered, and looks up its caller again. */
static void call_dequeue(Call *call) {
        assert(call->is_queued);

        TAILQ_REMOVE(&call->queue->calls, call, link);
        call->is_queued = false;

        /* Never NULL, as the calls of a client are freed when it leaves. */
        call->client = manager_find_client(call->manager, sd_bus_message_get_sender(call->message));
        assert(call->client);
}

int call_queue_init(CallQueue *queue, sd_bus *bus, Manager *manager) {
        int r;

        *queue = (CallQueue) { .bus = bus, .manager = manager };
        TAILQ_INIT(&queue->calls);
        close_replies_init(&queue->close_replies);
        units_init(&queue->units, bus);

        r = logout_init(&queue->logout, bus);
        if (r < 0)
                return r;

        r = polkit_new(bus, &queue->polkit);
        if (r < 0)
                return r;

        return unread_bus_init(&queue->unread, bus, manager);
}

void call_queue_done(CallQueue *queue) {
        Call *call;

        while ((call = TAILQ_FIRST(&queue->calls))) {
                (void) error_reply(call->message, ERROR_SHUTTING_DOWN);
                (void) call_free(call);
        }

        close_replies_done(&queue->close_replies);
        units_done(&queue->units);
        logout_done(&queue->logout);
        queue->polkit = polkit_free(queue->polkit);
        unread_bus_done(&queue->unread);
}

void call_queue_cancel(CallQueue *queue, const char *sender) {
        Call *call, *next;

        for (call = TAILQ_FIRST(&queue->calls); call; call = next) {
                next = TAILQ_NEXT(call, link);
                if (streq(sd_bus_message_get_sender(call->message), sender))
                        (void) call_free(call);
        }
}

static int call_reply_error(Call *call, int r) {
        r = error_reply_send(call->message, r, &call->error);
        if (r < 0)
                log_debug("Failed to reply to %s: %s", sd_bus_message_get_sender(call->message),
                          strerror(-r));

        return 1;
}

static int call_act(Call *call) {
        int r;

        r = call->method->act(call);
        return r < 0 ? call_reply_error(call, r) : 1;
}

LogFields call_log_fields(const Call *call) {
        return (LogFields) {
                .owner = call->client->name,
                .has_owner_uid = true,
                .owner_uid = call->client->uid,
                .owner_pid = call->client->pid,
                .owner_unit = call->client->unit,
        };
}

int call_set_limit_error(Call *call, ErrorId id, const char *limit, uint32_t value) {
        _cleanup_free_ char *text = NULL;
        LogFields fields = call_log_fields(call);
        int r;

        r = error_set(&call->error, id, limit, value);
        if (r == -ENOMEM)
                return r;

        /* A message about an unidentified client would not count against its user's limit in the log. */
        fields.limit = limit;
        text = call->client->identified ? error_format(&call->error, call->error.info->text) : NULL;
        if (text)
                log_event(LOG_NOTICE, MESSAGE_LIMIT_REACHED_STR, &fields, "Refused a call of user %u: %s",
                          (unsigned) call->client->uid, text);

        return r;
}

void call_log_denied(const Call *call, const LogFields *fields, const char *why) {
        unsigned uid = call->client->uid;

        if (streq(fields->action, ""))
                log_event(LOG_NOTICE, MESSAGE_REQUEST_DENIED_STR, fields, "Denied user %u port %u: %s", uid,
                          fields->port, why);
        else
                log_event(LOG_NOTICE, MESSAGE_REQUEST_DENIED_STR, fields, "Denied user %u %s for port %u: %s",
                          uid, fields->action, fields->port, why);
}

static void call_log_not_authorized(const Call *call, const char *why) {
        const PolkitQuestion *question = &call->need.question;
        LogFields fields = call_log_fields(call);
        const char *persistent = polkit_question_get(question, "persistent");

        fields.action = question->action;
        fields.port = (uint16_t) atoi(call->need.port);
        fields.has_port = true;
        fields.address = polkit_question_get(question, "address");
        fields.interface = polkit_question_get(question, "interface");
        fields.delivery = polkit_question_get(question, "delivery");
        fields.persistent = persistent && !streq(persistent, "");
        call_log_denied(call, &fields, why);
}

static const char *answer_to_string(PolkitAnswer answer) {
        switch (answer) {

        case POLKIT_TIMED_OUT:
                return "the request for authentication was not answered";

        case POLKIT_BUSY:
                return "earlier requests for authentication were not answered";

        case POLKIT_UNAVAILABLE:
                return "polkit does not answer";

        default:
                return "polkit does not authorize it";
        }
}

static int call_set_denied_error(Call *call, PolkitAnswer answer) {
        const char *action = call->need.question.action;
        unsigned uid = call->client->uid;

        /* A program that closes a listener that has ended expects this, and allows no interaction. */
        if (call->need.is_secret && !call->need.question.may_ask)
                return error_set(&call->error, ERROR_NO_SUCH_LISTENER,
                                 sd_bus_message_get_path(call->message));

        switch (answer) {

        case POLKIT_CHALLENGE:
                return error_set(&call->error, ERROR_AUTHENTICATION_REQUIRED, action);

        case POLKIT_TIMED_OUT:
                return error_set(&call->error, ERROR_AUTHENTICATION_TIMED_OUT, action);

        case POLKIT_BUSY:
                return error_set(&call->error, ERROR_AUTHENTICATION_BUSY, action);

        case POLKIT_UNAVAILABLE:
                return error_set(&call->error, ERROR_POLKIT_UNAVAILABLE, uid, action);

        default:
                return error_set(&call->error, ERROR_NOT_AUTHORIZED, uid, action);
        }
}

static void on_authorization(PolkitAnswer answer, void *userdata) {
        _cleanup_call_ Call *call = userdata;
        CallNeed again = {};
        int r;

        call_dequeue(call);
        call->authorized = answer == POLKIT_ALLOWED;

        if (call->authorized) {
                /* The needed action may have changed in the meantime, as the question can take minutes. */
                call->method->need(call, &again);
                if (again.question.action && !streq(again.question.action, call->need.question.action)) {
                        call->authorized = false;
                        answer = POLKIT_DENIED;
                }
        }

        if (!call->authorized && !call->need.optional) {
                /* Not for a listener that does not exist. */
                if (answer != POLKIT_CHALLENGE && *call->need.port != '\0')
                        call_log_not_authorized(call, answer_to_string(answer));
                r = call_set_denied_error(call, answer);
                (void) call_reply_error(call, r);
                return;
        }

        (void) call_act(call);
}

/* For an identified caller. Returns 0 if the call waits in the queue for polkit. */
static int call_authorize(Call *call) {
        uint32_t limit = call->manager->limits.pending_requests_per_user;
        uid_t uid = call->client->uid;
        int r;

        assert(call->client->identified);

        if (call->method->need && uid != 0 && uid != geteuid())
                call->method->need(call, &call->need);
        if (!call->need.question.action)
                return call_act(call);

        r = user_charge(&call->manager->users, uid, USER_CALLS, 1, limit, &call->charge);
        if (r == -EDQUOT)
                r = call_set_limit_error(call, ERROR_TOO_MANY_REQUESTS_PER_USER, "MaxPendingRequestsPerUser",
                                         limit);
        if (r < 0)
                return call_reply_error(call, r);

        r = polkit_ask(call->queue->polkit, call->client->name, uid, &call->need.question, on_authorization,
                       call, &call->query);
        if (r < 0)
                return call_reply_error(call, r);

        call_enqueue(call);
        return 0;
}

static int call_set_too_many_error(Call *call) {
        uint32_t limit = call->manager->limits.pending_requests_per_user;

        return call_set_limit_error(call, ERROR_TOO_MANY_CALLS, "MaxPendingRequestsPerUser", limit);
}

/* Root can open any socket itself. */
static int call_check_containment(Call *call) {
        LogFields fields = call_log_fields(call);

        if (call->manager->contained || !call->manager->settings->require_containment ||
            call->client->uid == 0)
                return 0;

        log_event(LOG_NOTICE, MESSAGE_NOT_CONTAINED_STR, &fields,
                  "Refused a call of user %u: the service is not contained (RequireContainment=yes)",
                  (unsigned) call->client->uid);
        return error_set(&call->error, ERROR_NOT_CONTAINED);
}

/* Continues when the unit of the caller is known, or does not become known. */
static void call_proceed_with_unit(Call *c) {
        _cleanup_call_ Call *call = c;

        call_dequeue(call);
        call->client->n_calls--;
        call->timer = sd_event_source_disable_unref(call->timer);
        call->client->unit_asked = true;

        if (call_authorize(call) == 0)
                call = NULL; /* in the queue */
}

static void on_unit(const char *unit, void *userdata) {
        Call *call = userdata;
        Client *client = call->client;

        call->unit = NULL;
        if (unit && !client->unit)
                client->unit = strdup(unit); /* without memory it remains unknown */
        call_proceed_with_unit(call);
}

static int on_unit_late(sd_event_source *source, uint64_t usec, void *userdata) {
        Call *call = userdata;

        call->unit = unit_question_forget(call->unit);
        call_proceed_with_unit(call);
        return 0;
}

/* For an identified caller. Returns 0 if the call waits in the queue. */
static int call_ask_unit(Call *call) {
        CallQueue *queue = call->queue;
        Client *client = call->client;
        int r;

        if (!call->method->needs_unit || client->unit_asked || client->pid == 0 ||
            client->n_calls >= call->manager->limits.pending_requests_per_user)
                return call_authorize(call);

        r = unit_ask(&queue->units, client->pid, on_unit, call, &call->unit);
        if (r >= 0)
                r = sd_event_add_time_relative(sd_bus_get_event(queue->bus), &call->timer, CLOCK_MONOTONIC,
                                               UNIT_USEC, 0, on_unit_late, call);
        if (r < 0) {
                log_debug("Failed to ask systemd for the unit of %s: %s", client->name, strerror(-r));
                call->unit = unit_question_forget(call->unit);
                return call_authorize(call);
        }

        client->n_calls++;
        call_enqueue(call);
        return 0;
}

static int on_support_late(sd_event_source *source, uint64_t usec, void *userdata);

/* Continues with an identified caller. Returns 0 if the call waits in the queue. */
static int call_proceed(Call *call) {
        Client *client = call->client;
        OutboxSupport support = OUTBOX_SUPPORT_YES;
        int r;

        if (call->method->needs_descriptors) {
                r = call_check_containment(call);
                if (r < 0)
                        return call_reply_error(call, r);

                support = outbox_request_support(client->outbox, &call->waiter);
        }
        if (support == OUTBOX_SUPPORT_YES)
                return call_ask_unit(call);

        if (support == OUTBOX_SUPPORT_NO)
                r = error_set(&call->error, ERROR_NO_DESCRIPTORS);
        else if (client->n_calls >= call->manager->limits.pending_requests_per_user)
                r = call_set_too_many_error(call);
        else
                r = sd_event_add_time_relative(sd_bus_get_event(call->queue->bus), &call->timer,
                                               CLOCK_MONOTONIC, SUPPORT_USEC, 0, on_support_late, call);
        if (r < 0)
                return call_reply_error(call, r);

        client->n_calls++;
        call_enqueue(call);
        return 0;
}

static void on_support(Waiter *waiter) {
        _cleanup_call_ Call *call = CONTAINER_OF(waiter, Call, waiter);

        call_dequeue(call);
        call->client->n_calls--;
        call->timer = sd_event_source_disable_unref(call->timer);

        if (call_proceed(call) == 0)
                call = NULL; /* in the queue */
}

static int on_support_late(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_call_ Call *call = userdata;

        call_dequeue(call);
        call->client->n_calls--;
        (void) error_reply(call->message, ERROR_NO_ROOM_FOR_DESCRIPTOR);
        return 0;
}

static int on_identity(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error) {
        _cleanup_call_ Call *call = userdata;
        BusCredentials credentials;
        int r;

        call_dequeue(call);
        call->slot = sd_bus_slot_unref(call->slot);
        assert(call->client->n_calls > 0);
        call->client->n_calls--;

        r = bus_driver_read_credentials(answer, &credentials);
        if (r < 0) {
                if (!call->client->identified && call->client->n_calls == 0)
                        manager_remove_client(call->manager, call->client);
                r = error_set(&call->error, ERROR_CALLER_UNKNOWN);
                (void) call_reply_error(call, r);
                return 0;
        }

        r = manager_identify_client(call->manager, call->client, &credentials);
        if (r < 0) {
                (void) call_reply_error(call, r);
                return 0;
        }

        if (call_proceed(call) == 0)
                call = NULL; /* in the queue */
        return 0;
}

static int call_identify(Call *call) {
        CallQueue *queue = call->queue;
        int r;

        if (call->client->n_calls >= call->manager->limits.pending_requests_per_user)
                return call_set_too_many_error(call);

        r = bus_driver_ask_credentials(queue->bus, &call->slot, call->client->name, on_identity, call);
        if (r < 0)
                return r;

        call->client->n_calls++;
        call_enqueue(call);
        return 0;
}

int call_start(CallQueue *queue, sd_bus_message *message, const CallMethod *method, void *data) {
        _cleanup_call_ Call *call = NULL;
        int r;

        call = malloc(sizeof(*call));
        if (!call) {
                if (method->free_data && data)
                        method->free_data(data);
                return -ENOMEM;
        }

        *call = (Call) {
                .queue = queue,
                .manager = queue->manager,
                .message = sd_bus_message_ref(message),
                .method = method,
                .data = data,
                .waiter = { .ready = on_support },
        };

        r = manager_acquire_client(queue->manager, sd_bus_message_get_sender(message), &call->client);
        if (r < 0)
                return call_reply_error(call, r);

        /* Calls of one client keep their order while it is identified. */
        if (call->client->identified && call->client->n_calls == 0)
                r = call_proceed(call);
        else {
                r = call_identify(call);
                if (r < 0)
                        return call_reply_error(call, r);
        }

        if (r == 0)
                call = NULL; /* in the queue */
        return 1;
}
